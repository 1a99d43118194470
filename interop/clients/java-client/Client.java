import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.ShutdownSignalException;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/**
 * Runs the interop checklist with the RabbitMQ Java client.
 *
 * <p>Every check gets its own context: names with the run's prefix, connections that are closed and
 * queues and exchanges that are deleted when the check ends, whether or not it passed. A check has
 * at most CHECK_MS, the whole run at most RUN_MS.
 */
public final class Client {
    private static final long CHECK_MS = 12_000;
    private static final long RUN_MS = 50_000;
    private static final long CLEANUP_MS = 4_000;
    private static final int ANSWER_MS = 5_000;
    private static final BasicProperties PERSISTENT =
            new BasicProperties.Builder().deliveryMode(2).build();

    private interface Check {
        void run(Context t) throws Exception;
    }

    private interface Action {
        void run() throws Exception;
    }

    private static final class Failed extends Exception {
        private static final long serialVersionUID = 1;

        Failed(String reason) {
            super(reason);
        }
    }

    private static void same(Object actual, Object expected, String what) throws Failed {
        if (!Objects.equals(actual, expected)) {
            throw new Failed(what + ": expected " + expected + ", got " + actual);
        }
    }

    private static List<String> numbered(int count) {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            texts.add("message " + i);
        }
        return texts;
    }

    /** What one check owns. */
    private static final class Context {
        private final String uri;
        private final String base;
        private final List<Connection> connections = new ArrayList<>();
        private final List<String> queues = new ArrayList<>();
        private final List<String> exchanges = new ArrayList<>();
        /** The socket of the connection that was opened last. */
        private Socket socket;

        Context(String uri, String base) {
            this.uri = uri;
            this.base = base;
        }

        Connection connect() throws Exception {
            return connect(60);
        }

        Connection connect(int heartbeat) throws Exception {
            return connect(factory -> factory.setRequestedHeartbeat(heartbeat));
        }

        Connection connect(Consumer<ConnectionFactory> settings) throws Exception {
            ConnectionFactory factory = new ConnectionFactory();
            factory.setUri(uri);
            settings.accept(factory);
            factory.setAutomaticRecoveryEnabled(false);
            factory.setConnectionTimeout(ANSWER_MS);
            factory.setHandshakeTimeout(ANSWER_MS);
            factory.setChannelRpcTimeout(ANSWER_MS);
            factory.setShutdownTimeout((int) CLEANUP_MS);
            factory.setSocketConfigurator(opened -> socket = opened);
            Connection connection = factory.newConnection("interop");
            connections.add(connection);
            return connection;
        }

        Channel confirming() throws Exception {
            Channel channel = connect().createChannel();
            channel.confirmSelect();
            return channel;
        }

        String queue(String suffix) {
            queues.add(base + "." + suffix);
            return base + "." + suffix;
        }

        String exchange() {
            exchanges.add(base + ".x");
            return base + ".x";
        }

        /** Makes a durable queue with persistent messages; the channel is in confirm mode. */
        String fill(Channel channel, int count) throws Exception {
            String queue = queue("q");
            declare(channel, queue);
            for (String body : numbered(count)) {
                channel.basicPublish("", queue, PERSISTENT, body.getBytes());
            }
            channel.waitForConfirmsOrDie(ANSWER_MS);
            return queue;
        }

        void cleanup() throws Exception {
            for (Connection connection : connections) {
                connection.abort(ANSWER_MS);
            }
            if (queues.isEmpty() && exchanges.isEmpty()) {
                return;
            }
            Connection connection = connect();
            Channel channel = connection.createChannel();
            for (String name : queues) {
                channel.queueDelete(name);
            }
            for (String name : exchanges) {
                channel.exchangeDelete(name);
            }
            connection.close();
        }
    }

    /** What arrived at a consumer, in order. */
    private static final class Inbox {
        private final BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
        private final String tag;

        Inbox(Channel channel, String queue) throws Exception {
            tag = channel.basicConsume(
                    queue, false, (consumer, delivery) -> deliveries.add(delivery), consumer -> { });
        }

        Delivery next() throws Exception {
            Delivery delivery = deliveries.poll(ANSWER_MS, TimeUnit.MILLISECONDS);
            if (delivery == null) {
                throw new Failed("nothing arrived");
            }
            return delivery;
        }

        List<Delivery> take(int count) throws Exception {
            List<Delivery> taken = new ArrayList<>();
            while (taken.size() < count) {
                taken.add(next());
            }
            return taken;
        }

        void silence(long ms) throws Exception {
            Thread.sleep(ms);
            same(deliveries.size(), 0, "unexpected deliveries");
        }
    }

    private static AMQP.Queue.DeclareOk declare(Channel channel, String queue) throws Exception {
        return channel.queueDeclare(queue, true, false, false, null);
    }

    private static void counts(Channel channel, String queue, int messages, int consumers)
            throws Exception {
        AMQP.Queue.DeclareOk ok = declare(channel, queue);
        same(ok.getQueue(), queue, "queue");
        same(ok.getMessageCount(), messages, "messages");
        same(ok.getConsumerCount(), consumers, "consumers");
    }

    private static long tag(Delivery delivery) {
        return delivery.getEnvelope().getDeliveryTag();
    }

    private static boolean redelivered(Delivery delivery) {
        return delivery.getEnvelope().isRedeliver();
    }

    private static String text(Delivery delivery) {
        return new String(delivery.getBody());
    }

    private static List<String> drain(Channel channel, String queue) throws Exception {
        List<String> found = new ArrayList<>();
        GetResponse message = channel.basicGet(queue, true);
        while (message != null) {
            found.add(new String(message.getBody()));
            message = channel.basicGet(queue, true);
        }
        return found;
    }

    /** Counts what is ready after all of the channel's acks were handled. */
    private static int leftAfterClosing(Channel channel, String queue) throws Exception {
        channel.close();
        Channel probe = channel.getConnection().createChannel();
        return probe.queueDeclarePassive(queue).getMessageCount();
    }

    /** Expects the connection to be refused while it is opened. */
    private static void connectionRefused(
            Context t, Class<? extends Exception> error, Consumer<ConnectionFactory> settings)
            throws Exception {
        Throwable caught = null;
        try {
            t.connect(settings);
        } catch (java.io.IOException refusal) {
            caught = refusal;
        }
        if (caught == null || !error.isInstance(caught) && !error.isInstance(caught.getCause())) {
            throw new Failed("no " + error.getSimpleName() + " but " + caught);
        }
    }

    /** Expects the action to be refused with the code, and the connection to live on. */
    private static void refused(Connection connection, int code, Action action) throws Exception {
        Throwable cause = null;
        try {
            action.run();
        } catch (java.io.IOException error) {
            cause = error.getCause();
        }
        if (!(cause instanceof ShutdownSignalException)) {
            throw new Failed("no error where " + code + " was due: " + cause);
        }
        Object reason = ((ShutdownSignalException) cause).getReason();
        if (!(reason instanceof AMQP.Channel.Close)) {
            throw new Failed("not a channel error: " + reason);
        }
        same(((AMQP.Channel.Close) reason).getReplyCode(), code, "reply code");
        connection.createChannel().close();
    }

    private static void connect(Context t) throws Exception {
        Connection connection = t.connect();
        connection.createChannel();
        String product = String.valueOf(connection.getServerProperties().get("product"));
        String version = String.valueOf(connection.getServerProperties().get("version"));
        same(product.isEmpty() || product.equals("null"), false, "no product");
        same(version.matches("\\d+(\\.\\d+)+.*"), true, "version " + version + " is a version");
        connectionRefused(t, AuthenticationFailureException.class,
                factory -> factory.setPassword("wrong"));
        connectionRefused(t, ShutdownSignalException.class,
                factory -> factory.setVirtualHost(t.base));
    }

    private static void declare(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.queue("q");
        String exchange = t.exchange();
        counts(channel, queue, 0, 0);
        channel.exchangeDeclare(exchange, "direct", true);
        channel.queueBind(queue, exchange, "key");
        for (String body : numbered(3)) {
            channel.basicPublish(exchange, "key", null, body.getBytes());
        }
        channel.waitForConfirmsOrDie(ANSWER_MS);
        counts(channel, queue, 3, 0);
        channel.exchangeDeclare(exchange, "direct", true);
        channel.exchangeDeclarePassive(exchange);
        new Inbox(channel, queue).take(3);
        counts(channel, queue, 0, 1);
        String other = t.queue("other");
        declare(channel, other);
        channel.basicPublish("", other, null, "first".getBytes());
        channel.waitForConfirmsOrDie(ANSWER_MS);
        same(channel.queuePurge(other).getMessageCount(), 1, "purged");
        channel.basicPublish("", other, null, "last".getBytes());
        channel.waitForConfirmsOrDie(ANSWER_MS);
        same(channel.queueDelete(other).getMessageCount(), 1, "deleted");
    }

    private static void confirm(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.fill(channel, 100);
        counts(channel, queue, 100, 0);
    }

    private static Map<String, Object> someHeaders(int number) {
        Map<String, Object> headers = new HashMap<>();
        headers.put("number", number);
        headers.put("big", 1L << 40);
        headers.put("yes", true);
        headers.put("nested", Map.of("list", List.of(1, 2)));
        return headers;
    }

    private static BasicProperties someProperties(int number) {
        return new BasicProperties.Builder()
                .contentType("text/x-check").contentEncoding("identity")
                .deliveryMode(2).priority(3)
                .correlationId("c" + number).replyTo("somewhere").messageId("m" + number)
                .timestamp(new Date(1_700_000_000_000L + 1000L * number))
                .type("check").appId("interop").headers(someHeaders(number))
                .build();
    }

    /** All properties in one list: the class itself has no equals in older versions. */
    private static List<Object> fields(BasicProperties p) {
        return Arrays.asList(p.getContentType(), p.getContentEncoding(), p.getDeliveryMode(),
                p.getPriority(), p.getCorrelationId(), p.getReplyTo(), p.getExpiration(),
                p.getMessageId(), p.getTimestamp(), p.getType(), p.getUserId(), p.getAppId(),
                p.getHeaders());
    }

    private static void consume(Context t) throws Exception {
        Channel channel = t.connect().createChannel();
        String queue = t.queue("q");
        declare(channel, queue);
        Inbox inbox = new Inbox(channel, queue);
        for (int i = 0; i < 20; i++) {
            channel.basicPublish("", queue, someProperties(i), ("message " + i).getBytes());
        }
        List<Delivery> messages = inbox.take(20);
        for (int i = 0; i < 20; i++) {
            Delivery message = messages.get(i);
            same(text(message), "message " + i, "body");
            same(redelivered(message), false, "redelivered");
            same(message.getEnvelope().getRoutingKey(), queue, "routing key");
            same(fields(message.getProperties()), fields(someProperties(i)), "properties");
        }
        channel.basicAck(tag(messages.get(19)), true);
        channel.basicCancel(inbox.tag);
        inbox.silence(50);
    }

    private static void ackEach(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.fill(channel, 5);
        for (Delivery message : new Inbox(channel, queue).take(5)) {
            channel.basicAck(tag(message), false);
        }
        same(leftAfterClosing(channel, queue), 0, "messages left");
    }

    private static void ackMultiple(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.fill(channel, 10);
        channel.basicAck(tag(new Inbox(channel, queue).take(10).get(6)), true);
        same(leftAfterClosing(channel, queue), 3, "messages left");
        same(drain(channel.getConnection().createChannel(), queue), numbered(10).subList(7, 10),
                "the rest");
    }

    private static void nackRequeue(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.fill(channel, 1);
        Inbox inbox = new Inbox(channel, queue);
        Delivery first = inbox.next();
        same(redelivered(first), false, "redelivered at first");
        channel.basicNack(tag(first), false, true);
        Delivery again = inbox.next();
        same(redelivered(again), true, "redelivered after the nack");
        same(text(again), "message 0", "body");
        channel.basicNack(tag(again), false, false);
        same(leftAfterClosing(channel, queue), 0, "messages left");

        Channel ordered = channel.getConnection().createChannel();
        for (String body : numbered(4)) {
            ordered.basicPublish("", queue, null, body.getBytes());
        }
        long one = ordered.basicGet(queue, false).getEnvelope().getDeliveryTag();
        long two = ordered.basicGet(queue, false).getEnvelope().getDeliveryTag();
        ordered.basicNack(one, false, true);
        ordered.basicNack(two, false, true);
        same(drain(ordered, queue), numbered(4), "order after nacks");
    }

    private static void redelivered(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.fill(channel, 1);
        Connection other = t.connect();
        Socket socket = t.socket;
        same(redelivered(new Inbox(other.createChannel(), queue).next()), false,
                "redelivered at first");
        Inbox inbox = new Inbox(channel, queue);
        socket.close();
        Delivery message = inbox.next();
        same(redelivered(message), true, "redelivered after the loss");
        same(text(message), "message 0", "body");
        channel.basicAck(tag(message), false);
    }

    private static void fanout(Context t) throws Exception {
        Channel channel = t.confirming();
        String exchange = t.exchange();
        channel.exchangeDeclare(exchange, "fanout", true);
        List<String> queues = List.of(t.queue("a"), t.queue("b"));
        for (String queue : queues) {
            declare(channel, queue);
            channel.queueBind(queue, exchange, "");
        }
        channel.basicPublish(exchange, "ignored", null, "to all".getBytes());
        channel.waitForConfirmsOrDie(ANSWER_MS);
        for (String queue : queues) {
            same(drain(channel, queue), List.of("to all"), queue);
        }
    }

    private static void topic(Context t) throws Exception {
        Channel channel = t.confirming();
        String exchange = t.exchange();
        String star = t.queue("star");
        String hash = t.queue("hash");
        channel.exchangeDeclare(exchange, "topic", true);
        declare(channel, star);
        declare(channel, hash);
        channel.queueBind(star, exchange, "a.*");
        channel.queueBind(hash, exchange, "a.#");
        for (String key : List.of("a", "a.b", "a.b.c", "x.b")) {
            channel.basicPublish(exchange, key, null, key.getBytes());
        }
        channel.waitForConfirmsOrDie(ANSWER_MS);
        same(drain(channel, star), List.of("a.b"), "a.*");
        same(drain(channel, hash), List.of("a", "a.b", "a.b.c"), "a.#");
    }

    private static void sendHeaders(
            Channel channel, String exchange, String body, Map<String, Object> headers)
            throws Exception {
        channel.basicPublish(exchange, "", new BasicProperties.Builder().headers(headers).build(),
                body.getBytes());
    }

    private static void headers(Context t) throws Exception {
        Channel channel = t.confirming();
        String exchange = t.exchange();
        channel.exchangeDeclare(exchange, "headers", true);
        for (String kind : List.of("all", "any")) {
            String queue = t.queue(kind);
            declare(channel, queue);
            channel.queueBind(queue, exchange, "",
                    Map.of("x-match", kind, "format", "pdf", "pages", 3));
        }
        sendHeaders(channel, exchange, "both", Map.of("format", "pdf", "pages", 3, "other", "x"));
        sendHeaders(channel, exchange, "one", Map.of("format", "pdf", "pages", 4));
        sendHeaders(channel, exchange, "none", Map.of("format", "zip"));
        channel.waitForConfirmsOrDie(ANSWER_MS);
        same(drain(channel, t.queue("all")), List.of("both"), "x-match all");
        same(drain(channel, t.queue("any")), List.of("both", "one"), "x-match any");
    }

    private static void get(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.fill(channel, 2);
        GetResponse first = channel.basicGet(queue, false);
        same(new String(first.getBody()), "message 0", "body");
        same(first.getMessageCount(), 1, "remaining after the first");
        same(first.getEnvelope().isRedeliver(), false, "redelivered");
        GetResponse second = channel.basicGet(queue, false);
        same(second.getMessageCount(), 0, "remaining after the second");
        channel.basicAck(second.getEnvelope().getDeliveryTag(), true);
        same(channel.basicGet(queue, false), null, "get of an empty queue");
    }

    private static void mandatory(Context t) throws Exception {
        Channel channel = t.confirming();
        BlockingQueue<List<Object>> returned = new ArrayBlockingQueue<>(1);
        channel.addReturnListener((code, reason, exchange, key, properties, body) ->
                returned.add(List.of(code, reason, new String(body))));
        channel.basicPublish("", t.queue("missing"), true, null, "nowhere".getBytes());
        channel.waitForConfirmsOrDie(ANSWER_MS);
        same(returned.poll(), List.of(312, "NO_ROUTE", "nowhere"), "returned before the ack");
    }

    private static void prefetch(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.fill(channel, 10);
        channel.basicQos(3);
        Inbox inbox = new Inbox(channel, queue);
        List<String> bodies = new ArrayList<>();
        List<Delivery> first = inbox.take(3);
        inbox.silence(300);
        channel.basicAck(tag(first.get(2)), true);
        List<Delivery> second = inbox.take(3);
        inbox.silence(300);
        first.forEach(message -> bodies.add(text(message)));
        second.forEach(message -> bodies.add(text(message)));
        same(bodies, numbered(6), "bodies");
    }

    private static void body10Mib(Context t) throws Exception {
        Channel channel = t.confirming();
        String queue = t.queue("q");
        declare(channel, queue);
        byte[] body = new byte[10 * 1024 * 1024];
        new Random(1).nextBytes(body);
        channel.basicPublish("", queue, null, body);
        channel.waitForConfirmsOrDie(ANSWER_MS);
        Inbox inbox = new Inbox(channel, queue);
        Delivery message = inbox.next();
        channel.basicAck(tag(message), false);
        same(message.getBody().length, body.length, "size");
        same(Arrays.equals(message.getBody(), body), true, "equal bodies");
        channel.basicPublish("", queue, null, new byte[0]);
        same(inbox.next().getBody().length, 0, "size of an empty body");
    }

    private static void error404(Context t) throws Exception {
        Connection connection = t.connect();
        Channel channel = connection.createChannel();
        refused(connection, 404, () -> channel.queueDeclarePassive(t.queue("missing")));
        Channel other = connection.createChannel();
        refused(connection, 404, () -> other.exchangeDeclarePassive(t.exchange()));
    }

    private static void error405(Context t) throws Exception {
        String queue = t.queue("q");
        t.connect().createChannel().queueDeclare(queue, false, true, false, null);
        Connection connection = t.connect();
        Channel channel = connection.createChannel();
        refused(connection, 405, () -> channel.queueDeclarePassive(queue));
    }

    private static void error406(Context t) throws Exception {
        Connection connection = t.connect();
        Channel channel = connection.createChannel();
        String queue = t.queue("q");
        declare(channel, queue);
        refused(connection, 406, () -> channel.queueDeclare(queue, false, false, false, null));
        // An ack has no answer, so its error comes by a listener.
        BlockingQueue<ShutdownSignalException> reasons = new ArrayBlockingQueue<>(1);
        Channel other = connection.createChannel();
        other.addShutdownListener(reasons::add);
        other.basicAck(99, false);
        ShutdownSignalException reason = reasons.poll(ANSWER_MS, TimeUnit.MILLISECONDS);
        same(reason != null && reason.getReason() instanceof AMQP.Channel.Close, true,
                "channel closed after an ack of an unknown tag");
        same(((AMQP.Channel.Close) reason.getReason()).getReplyCode(), 406, "reply code");
    }

    private static void heartbeat(Context t) throws Exception {
        Connection connection = t.connect(1);
        same(connection.getHeartbeat(), 1, "negotiated heartbeat");
        Thread.sleep(4_500);
        same(connection.isOpen(), true, "open");
        AMQP.Queue.DeclareOk ok =
                connection.createChannel().queueDeclare(t.queue("q"), false, true, false, null);
        same(ok.getMessageCount(), 0, "messages");
    }

    private static void close(Context t) throws Exception {
        Connection connection = t.connect();
        BlockingQueue<ShutdownSignalException> reasons = new ArrayBlockingQueue<>(1);
        connection.addShutdownListener(reasons::add);
        connection.createChannel().close();
        String queue = t.queue("q");
        connection.createChannel().queueDeclare(queue, false, true, false, null);
        connection.close();
        same(connection.isOpen(), false, "open");
        ShutdownSignalException reason = reasons.poll(ANSWER_MS, TimeUnit.MILLISECONDS);
        same(reason != null && reason.isInitiatedByApplication(), true, "clean close");
        Connection again = t.connect();
        Channel channel = again.createChannel();
        refused(again, 404, () -> channel.queueDeclarePassive(queue));
    }

    private static Map<String, Check> checks() {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("connect", Client::connect);
        checks.put("declare", Client::declare);
        checks.put("confirm", Client::confirm);
        checks.put("consume", Client::consume);
        checks.put("ack_each", Client::ackEach);
        checks.put("ack_multiple", Client::ackMultiple);
        checks.put("nack_requeue", Client::nackRequeue);
        checks.put("redelivered", Client::redelivered);
        checks.put("fanout", Client::fanout);
        checks.put("topic", Client::topic);
        checks.put("headers", Client::headers);
        checks.put("get", Client::get);
        checks.put("mandatory", Client::mandatory);
        checks.put("prefetch", Client::prefetch);
        checks.put("body_10mib", Client::body10Mib);
        checks.put("error_404", Client::error404);
        checks.put("error_405", Client::error405);
        checks.put("error_406", Client::error406);
        checks.put("heartbeat", Client::heartbeat);
        checks.put("close", Client::close);
        return checks;
    }

    /**
     * Runs the action and returns why it failed, or null. It has at most `most` milliseconds, and
     * less near the end of the run.
     */
    private static String limited(ExecutorService threads, long most, long end, Action action) {
        long limit = Math.min(most, end - System.currentTimeMillis());
        if (limit <= 0) {
            return "the run took too long";
        }
        Future<?> running = threads.submit(() -> {
            action.run();
            return null;
        });
        try {
            running.get(limit, TimeUnit.MILLISECONDS);
            return null;
        } catch (ExecutionException error) {
            Throwable cause = error.getCause();
            String text = cause instanceof Failed ? cause.getMessage()
                    : cause + (cause.getCause() == null ? "" : ": " + cause.getCause());
            String line = text.replaceAll("\\s+", " ");
            return line.length() > 300 ? line.substring(0, 300) : line;
        } catch (TimeoutException | InterruptedException error) {
            running.cancel(true);
            return "it did not end";
        }
    }

    private static String option(List<String> arguments, String name) {
        int at = arguments.indexOf(name);
        if (at < 0 || at + 1 >= arguments.size()) {
            System.err.println("usage: --uri amqp://user:password@host:port/vhost --prefix NAME");
            System.exit(2);
        }
        return arguments.get(at + 1);
    }

    public static void main(String[] arguments) {
        String uri = option(List.of(arguments), "--uri");
        String prefix = option(List.of(arguments), "--prefix");
        long end = System.currentTimeMillis() + RUN_MS;
        ExecutorService threads = Executors.newCachedThreadPool();
        int status = 0;
        for (Map.Entry<String, Check> entry : checks().entrySet()) {
            String name = entry.getKey();
            Context t = new Context(uri, prefix + "." + name);
            String reason = limited(threads, CHECK_MS, end, () -> entry.getValue().run(t));
            System.out.println("CHECK " + name + (reason == null ? " ok" : " FAIL " + reason));
            status = reason == null ? status : 1;
            reason = limited(threads, CLEANUP_MS, end, t::cleanup);
            if (reason != null) {
                System.err.println("cleanup of " + name + ": " + reason);
            }
        }
        System.exit(status);
    }
}
