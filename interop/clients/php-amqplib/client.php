<?php

// Runs the interop checklist with php-amqplib.
//
// Every check gets its own context: names with the run's prefix, connections that are closed and
// queues and exchanges that are deleted when the check ends, whether or not it passed. A check has
// at most CHECK_S seconds, the whole run at most RUN_S. The library logs in with AMQPLAIN.

declare(strict_types=1);

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

const CHECK_S = 12;
const RUN_S = 50;
const CLEANUP_S = 4;
const ANSWER_S = 5.0;

ini_set('memory_limit', '512M');
ini_set('display_errors', 'stderr');
error_reporting(E_ALL & ~E_DEPRECATED);
set_error_handler(static function (int $level, string $text): bool {
    if (error_reporting() & $level) {
        throw new ErrorException($text);
    }
    return false;
});

function check(bool $condition, string $what): void
{
    if (!$condition) {
        throw new RuntimeException($what);
    }
}

function same(mixed $actual, mixed $expected, string $what): void
{
    if ($actual !== $expected) {
        $texts = [json_encode($expected), json_encode($actual)];
        throw new RuntimeException("$what: expected $texts[0], got $texts[1]");
    }
}

/** @return list<string> */
function numbered(int $count): array
{
    return array_map(static fn (int $i): string => "message $i", range(0, $count - 1));
}

/** What one check owns. */
final class Context
{
    /** @var array<int, AMQPStreamConnection> */
    private array $connections = [];
    /** @var list<string> */
    private array $queues = [];
    /** @var list<string> */
    private array $exchanges = [];

    /** @param array<string, mixed> $uri */
    public function __construct(private array $uri, public readonly string $base)
    {
    }

    /** @param array<string, string> $other what differs from the uri of the run */
    public function connect(int $heartbeat = 0, array $other = []): AMQPStreamConnection
    {
        $uri = $other + $this->uri;
        $connection = new AMQPStreamConnection(
            $uri['host'],
            $uri['port'] ?? 5672,
            rawurldecode($uri['user'] ?? 'guest'),
            rawurldecode($uri['pass'] ?? 'guest'),
            rawurldecode(substr($uri['path'] ?? '/%2F', 1)),
            connection_timeout: ANSWER_S,
            read_write_timeout: ANSWER_S,
            heartbeat: $heartbeat,
            channel_rpc_timeout: ANSWER_S,
        );
        $this->connections[spl_object_id($connection)] = $connection;
        return $connection;
    }

    public function confirming(): AMQPChannel
    {
        $channel = $this->connect()->channel();
        $channel->confirm_select();
        return $channel;
    }

    /** Cuts the connection without closing it. */
    public function drop(AMQPStreamConnection $connection): void
    {
        unset($this->connections[spl_object_id($connection)]);
        $connection->set_close_on_destruct(false);
        $connection->getIO()->close();
    }

    public function queue(string $suffix = 'q'): string
    {
        return $this->queues[] = "$this->base.$suffix";
    }

    public function exchange(string $suffix = 'x'): string
    {
        return $this->exchanges[] = "$this->base.$suffix";
    }

    /**
     * A confirm channel and a durable queue that holds persistent messages.
     *
     * @return array{AMQPChannel, string}
     */
    public function filled(int $count): array
    {
        $channel = $this->confirming();
        $queue = $this->queue();
        declared($channel, $queue);
        foreach (numbered($count) as $body) {
            $channel->basic_publish(new AMQPMessage($body, ['delivery_mode' => 2]), '', $queue);
        }
        $channel->wait_for_pending_acks(ANSWER_S);
        return [$channel, $queue];
    }

    public function cleanup(): void
    {
        foreach ($this->connections as $connection) {
            $connection->close();
        }
        if ($this->queues === [] && $this->exchanges === []) {
            return;
        }
        $connection = $this->connect();
        $channel = $connection->channel();
        array_map(static fn (string $name) => $channel->queue_delete($name), $this->queues);
        array_map(static fn (string $name) => $channel->exchange_delete($name), $this->exchanges);
        $connection->close();
    }
}

/** Collects what arrives at a consumer, in order. */
final class Inbox
{
    /** @var list<AMQPMessage> */
    public array $messages = [];
    public readonly string $tag;

    public function __construct(private AMQPChannel $channel, string $queue)
    {
        $this->tag = $channel->basic_consume(
            $queue,
            callback: function (AMQPMessage $message): void {
                $this->messages[] = $message;
            },
        );
    }

    /** @return list<AMQPMessage> */
    public function take(int $count, float $seconds = ANSWER_S): array
    {
        $end = microtime(true) + $seconds;
        while (count($this->messages) < $count) {
            $left = $end - microtime(true);
            check($left > 0, 'nothing arrived');
            try {
                $this->channel->wait(null, false, $left);
            } catch (AMQPTimeoutException) {
                check(false, 'nothing arrived');
            }
        }
        return array_splice($this->messages, 0, $count);
    }

    public function silence(float $seconds = 0.3): void
    {
        try {
            $this->channel->wait(null, false, $seconds);
        } catch (AMQPTimeoutException) {
        }
        check($this->messages === [], 'unexpected deliveries');
    }
}

/** @return array{int, int} ready messages and consumers */
function declared(AMQPChannel $channel, string $queue, bool $passive = false): array
{
    [, $messages, $consumers] = $channel->queue_declare($queue, $passive, true, false, false);
    return [$messages, $consumers];
}

/** Counts what is ready after all of the channel's acks were handled. */
function leftAfterClosing(AMQPChannel $channel, string $queue): int
{
    $connection = $channel->getConnection();
    $channel->close();
    return declared($connection->channel(), $queue, true)[0];
}

/** @return list<string> */
function drain(AMQPChannel $channel, string $queue): array
{
    $found = [];
    while ($message = $channel->basic_get($queue, true)) {
        $found[] = $message->getBody();
    }
    return $found;
}

/** @param list<AMQPMessage> $messages */
function bodies(array $messages): array
{
    return array_map(static fn (AMQPMessage $message): string => $message->getBody(), $messages);
}

/** Expects the connection to be closed with the code while it is opened. */
function connectionRefused(int $code, callable $connect): void
{
    try {
        $connect();
    } catch (AMQPConnectionClosedException $error) {
        same($error->getCode(), $code, 'reply code');
        return;
    }
    check(false, "no error where $code was due");
}

/** Expects the action to be refused with the code, and the connection to live on. */
function refused(AMQPStreamConnection $connection, int $code, callable $action): void
{
    $caught = null;
    try {
        $action($connection->channel());
    } catch (AMQPProtocolChannelException $error) {
        $caught = $error;
    }
    check($caught !== null, "no error where $code was due");
    same($caught->amqp_reply_code, $code, 'reply code');
    $connection->channel()->close();
}

function sendHeaders(AMQPChannel $channel, string $exchange, string $body, array $headers): void
{
    $message = new AMQPMessage($body, ['application_headers' => new AMQPTable($headers)]);
    $channel->basic_publish($message, $exchange);
}

$checks = [
    'connect' => function (Context $t): void {
        $connection = $t->connect();
        $connection->channel();
        $product = $connection->getServerProperties()['product'][1] ?? null;
        check(is_string($product) && $product !== '', 'product is ' . json_encode($product));
        $version = $connection->getServerProperties()['version'][1] ?? '';
        check(preg_match('/^\d+(\.\d+)+/', $version) === 1, "version is $version");
        connectionRefused(403, fn () => $t->connect(other: ['pass' => 'wrong']));
        connectionRefused(530, fn () => $t->connect(other: ['path' => "/$t->base"]));
    },

    'declare' => function (Context $t): void {
        $channel = $t->confirming();
        $queue = $t->queue();
        $exchange = $t->exchange();
        same(declared($channel, $queue), [0, 0], 'counts of a new queue');
        $channel->exchange_declare($exchange, 'direct', false, true, false);
        $channel->queue_bind($queue, $exchange, 'key');
        foreach (numbered(3) as $body) {
            $channel->basic_publish(new AMQPMessage($body), $exchange, 'key');
        }
        $channel->wait_for_pending_acks(ANSWER_S);
        same(declared($channel, $queue), [3, 0], 'counts with messages');
        $channel->exchange_declare($exchange, 'direct', false, true, false);
        $channel->exchange_declare($exchange, 'direct', true, true, false);
        (new Inbox($channel, $queue))->take(3);
        same(declared($channel, $queue), [0, 1], 'counts with a consumer');
        $other = $t->queue('other');
        declared($channel, $other);
        $channel->basic_publish(new AMQPMessage('first'), '', $other);
        $channel->wait_for_pending_acks(ANSWER_S);
        same((int) $channel->queue_purge($other), 1, 'purged');
        $channel->basic_publish(new AMQPMessage('last'), '', $other);
        $channel->wait_for_pending_acks(ANSWER_S);
        same((int) $channel->queue_delete($other), 1, 'deleted');
    },

    'confirm' => function (Context $t): void {
        $channel = $t->confirming();
        $queue = $t->queue();
        declared($channel, $queue);
        $acked = 0;
        $channel->set_ack_handler(function () use (&$acked): void {
            $acked++;
        });
        $channel->set_nack_handler(fn () => check(false, 'a message was nacked'));
        foreach (numbered(100) as $body) {
            $channel->basic_publish(new AMQPMessage($body, ['delivery_mode' => 2]), '', $queue);
        }
        $channel->wait_for_pending_acks(ANSWER_S);
        same($acked, 100, 'acked messages');
        same(declared($channel, $queue)[0], 100, 'messages');
    },

    'consume' => function (Context $t): void {
        $channel = $t->connect()->channel();
        $queue = $t->queue();
        declared($channel, $queue);
        $inbox = new Inbox($channel, $queue);
        $plain = static fn (int $i): array => [
            'content_type' => 'text/x-check',
            'content_encoding' => 'identity',
            'delivery_mode' => 2,
            'priority' => 3,
            'correlation_id' => "c$i",
            'reply_to' => 'somewhere',
            'message_id' => "m$i",
            'timestamp' => 1_700_000_000 + $i,
            'type' => 'check',
            'app_id' => 'interop',
        ];
        $headers = static fn (int $i): array => [
            'number' => $i,
            'name' => "n$i",
            'yes' => true,
            'nested' => ['list' => [1, 'two']],
        ];
        foreach (numbered(20) as $i => $body) {
            $properties = $plain($i) + ['application_headers' => new AMQPTable($headers($i))];
            $channel->basic_publish(new AMQPMessage($body, $properties), '', $queue);
        }
        $messages = $inbox->take(20);
        same(bodies($messages), numbered(20), 'bodies');
        foreach ($messages as $i => $message) {
            same($message->isRedelivered(), false, 'redelivered');
            same($message->getRoutingKey(), $queue, 'routing key');
            foreach ($plain($i) as $name => $value) {
                same($message->get($name), $value, $name);
            }
            $got = $message->get('application_headers')->getNativeData();
            check($got == $headers($i), 'headers: got ' . json_encode($got));
        }
        $messages[19]->ack(true);
        $channel->basic_cancel($inbox->tag);
        $inbox->silence(0.05);
    },

    'ack_each' => function (Context $t): void {
        [$channel, $queue] = $t->filled(5);
        foreach ((new Inbox($channel, $queue))->take(5) as $message) {
            $message->ack();
        }
        same(leftAfterClosing($channel, $queue), 0, 'messages left');
    },

    'ack_multiple' => function (Context $t): void {
        [$channel, $queue] = $t->filled(10);
        $connection = $channel->getConnection();
        (new Inbox($channel, $queue))->take(10)[6]->ack(true);
        same(leftAfterClosing($channel, $queue), 3, 'messages left');
        $rest = drain($connection->channel(), $queue);
        same($rest, array_slice(numbered(10), 7), 'the rest');
    },

    'nack_requeue' => function (Context $t): void {
        [$channel, $queue] = $t->filled(1);
        $inbox = new Inbox($channel, $queue);
        [$first] = $inbox->take(1);
        same($first->isRedelivered(), false, 'redelivered at first');
        $first->nack(true);
        [$again] = $inbox->take(1);
        same([$again->isRedelivered(), $again->getBody()], [true, 'message 0'], 'after the nack');
        $again->nack(false);
        $connection = $channel->getConnection();
        same(leftAfterClosing($channel, $queue), 0, 'messages left');

        $ordered = $connection->channel();
        foreach (numbered(4) as $body) {
            $ordered->basic_publish(new AMQPMessage($body), '', $queue);
        }
        $taken = [$ordered->basic_get($queue), $ordered->basic_get($queue)];
        array_map(static fn (AMQPMessage $message) => $message->nack(true), $taken);
        same(drain($ordered, $queue), numbered(4), 'order after nacks');
    },

    'redelivered' => function (Context $t): void {
        [$channel, $queue] = $t->filled(1);
        $other = $t->connect();
        [$lost] = (new Inbox($other->channel(), $queue))->take(1);
        same($lost->isRedelivered(), false, 'redelivered at first');
        $inbox = new Inbox($channel, $queue);
        $t->drop($other);
        [$message] = $inbox->take(1);
        same([$message->isRedelivered(), $message->getBody()], [true, 'message 0'], 'after the loss');
        $message->ack();
    },

    'fanout' => function (Context $t): void {
        $channel = $t->confirming();
        $exchange = $t->exchange();
        $queues = [$t->queue('a'), $t->queue('b')];
        $channel->exchange_declare($exchange, 'fanout', false, true, false);
        foreach ($queues as $queue) {
            declared($channel, $queue);
            $channel->queue_bind($queue, $exchange);
        }
        $channel->basic_publish(new AMQPMessage('to all'), $exchange, 'ignored');
        $channel->wait_for_pending_acks(ANSWER_S);
        foreach ($queues as $queue) {
            same(drain($channel, $queue), ['to all'], $queue);
        }
    },

    'topic' => function (Context $t): void {
        $channel = $t->confirming();
        $exchange = $t->exchange();
        [$star, $hash] = [$t->queue('star'), $t->queue('hash')];
        $channel->exchange_declare($exchange, 'topic', false, true, false);
        foreach ([$star => 'a.*', $hash => 'a.#'] as $queue => $pattern) {
            declared($channel, $queue);
            $channel->queue_bind($queue, $exchange, $pattern);
        }
        foreach (['a', 'a.b', 'a.b.c', 'x.b'] as $key) {
            $channel->basic_publish(new AMQPMessage($key), $exchange, $key);
        }
        $channel->wait_for_pending_acks(ANSWER_S);
        same(drain($channel, $star), ['a.b'], 'a.*');
        same(drain($channel, $hash), ['a', 'a.b', 'a.b.c'], 'a.#');
    },

    'headers' => function (Context $t): void {
        $channel = $t->confirming();
        $exchange = $t->exchange();
        $match = ['format' => 'pdf', 'pages' => 3];
        $channel->exchange_declare($exchange, 'headers', false, true, false);
        foreach (['all', 'any'] as $kind) {
            $queue = $t->queue($kind);
            declared($channel, $queue);
            $arguments = new AMQPTable(['x-match' => $kind] + $match);
            $channel->queue_bind($queue, $exchange, '', false, $arguments);
        }
        sendHeaders($channel, $exchange, 'both', $match + ['other' => 'x']);
        sendHeaders($channel, $exchange, 'one', ['format' => 'pdf', 'pages' => 4]);
        sendHeaders($channel, $exchange, 'none', ['format' => 'zip']);
        $channel->wait_for_pending_acks(ANSWER_S);
        same(drain($channel, $t->queue('all')), ['both'], 'x-match all');
        same(drain($channel, $t->queue('any')), ['both', 'one'], 'x-match any');
    },

    'get' => function (Context $t): void {
        [$channel, $queue] = $t->filled(2);
        $first = $channel->basic_get($queue);
        same([$first->getBody(), $first->isRedelivered()], ['message 0', false], 'first');
        same((int) $first->getMessageCount(), 1, 'remaining after the first');
        $second = $channel->basic_get($queue);
        same([$second->getBody(), (int) $second->getMessageCount()], ['message 1', 0], 'second');
        $second->ack(true);
        same($channel->basic_get($queue), null, 'get of an empty queue');
    },

    'mandatory' => function (Context $t): void {
        $channel = $t->confirming();
        $returned = [];
        $channel->set_return_listener(
            function ($code, $text, $exchange, $key, AMQPMessage $message) use (&$returned): void {
                $returned[] = [(int) $code, $text, $message->getBody()];
            }
        );
        $channel->basic_publish(new AMQPMessage('nowhere'), '', $t->queue('missing'), true);
        $channel->wait_for_pending_acks_returns(ANSWER_S);
        same($returned, [[312, 'NO_ROUTE', 'nowhere']], 'returned');
    },

    'prefetch' => function (Context $t): void {
        [$channel, $queue] = $t->filled(10);
        $channel->basic_qos(0, 3, false);
        $inbox = new Inbox($channel, $queue);
        $first = $inbox->take(3);
        $inbox->silence();
        $first[2]->ack(true);
        $second = $inbox->take(3);
        $inbox->silence();
        same(bodies([...$first, ...$second]), numbered(6), 'bodies');
    },

    'body_10mib' => function (Context $t): void {
        $channel = $t->connect()->channel();
        $queue = $t->queue();
        declared($channel, $queue);
        $body = random_bytes(10 * 1024 * 1024);
        $channel->basic_publish(new AMQPMessage($body), '', $queue);
        $inbox = new Inbox($channel, $queue);
        [$message] = $inbox->take(1, 10.0);
        $message->ack();
        same(strlen($message->getBody()), strlen($body), 'size');
        check($message->getBody() === $body, 'the body came back changed');
        $channel->basic_publish(new AMQPMessage(''), '', $queue);
        same(bodies($inbox->take(1)), [''], 'empty body');
    },

    'error_404' => function (Context $t): void {
        $name = $t->queue('missing');
        $connection = $t->connect();
        refused($connection, 404, fn (AMQPChannel $channel) => declared($channel, $name, true));
        refused(
            $connection,
            404,
            fn (AMQPChannel $channel) => $channel->exchange_declare($t->exchange(), 'direct', true),
        );
    },

    'error_405' => function (Context $t): void {
        $name = $t->queue();
        $owner = $t->connect();
        $owner->channel()->queue_declare($name, false, false, true, false);
        refused($t->connect(), 405, fn (AMQPChannel $channel) => declared($channel, $name, true));
    },

    'error_406' => function (Context $t): void {
        $name = $t->queue();
        $connection = $t->connect();
        declared($connection->channel(), $name);
        refused(
            $connection,
            406,
            fn (AMQPChannel $channel) => $channel->queue_declare($name, false, false, false, false),
        );
        refused($connection, 406, function (AMQPChannel $channel) use ($name): void {
            $channel->basic_ack(99);
            declared($channel, $name, true);
        });
    },

    // The library sends heartbeats only while it waits, so the idle time is a wait for a message.
    'heartbeat' => function (Context $t): void {
        $connection = $t->connect(heartbeat: 1);
        same($connection->getHeartbeat(), 1, 'heartbeat');
        $channel = $connection->channel();
        $queue = $t->queue();
        $channel->queue_declare($queue, false, false, true, false);
        (new Inbox($channel, $queue))->silence(4.5);
        check($connection->isConnected(), 'the connection was lost');
        same($channel->queue_declare($queue, true)[1], 0, 'messages');
    },

    'close' => function (Context $t): void {
        $connection = $t->connect();
        $connection->channel()->close();
        $queue = $t->queue();
        $connection->channel()->queue_declare($queue, false, false, true, false);
        $connection->close();
        check(!$connection->isConnected(), 'the connection is not closed');
        refused($t->connect(), 404, fn (AMQPChannel $channel) => declared($channel, $queue, true));
    },
];

/**
 * Runs the action, which may take so many seconds, and less near the end of the run; without
 * signals, which not every platform has, only the timeouts of the library limit it.
 */
function limited(int $seconds, float $deadline, callable $action): void
{
    $seconds = (int) min($seconds, $deadline - microtime(true));
    check($seconds > 0, 'the run took too long');
    if (!function_exists('pcntl_alarm')) {
        $action();
        return;
    }
    pcntl_alarm($seconds);
    try {
        $action();
    } finally {
        pcntl_alarm(0);
    }
}

function oneLine(Throwable $error): string
{
    $text = get_class($error) . ': ' . $error->getMessage();
    return substr(preg_replace('/\s+/', ' ', $text), 0, 300);
}

$options = getopt('', ['uri:', 'prefix:']);
if (!isset($options['uri'], $options['prefix'])) {
    fwrite(STDERR, "usage: --uri amqp://user:password@host:port/vhost --prefix NAME\n");
    exit(2);
}
if (function_exists('pcntl_alarm')) {
    pcntl_async_signals(true);
    pcntl_signal(SIGALRM, fn () => throw new RuntimeException('it took too long'), false);
}
$deadline = microtime(true) + RUN_S;
$failures = 0;
foreach ($checks as $name => $check) {
    $context = new Context(parse_url($options['uri']), "{$options['prefix']}.$name");
    try {
        limited(CHECK_S, $deadline, fn () => $check($context));
        echo "CHECK $name ok\n";
    } catch (Throwable $error) {
        $failures++;
        echo "CHECK $name FAIL ", oneLine($error), "\n";
    }
    try {
        limited(CLEANUP_S, $deadline, fn () => $context->cleanup());
    } catch (Throwable $error) {
        fwrite(STDERR, "cleanup of $name: " . oneLine($error) . "\n");
    }
}
exit($failures === 0 ? 0 : 1);
