// Command client runs the interop checklist with amqp091-go.
//
// Every check gets its own context: names with the run's prefix, connections that are closed and
// queues and exchanges that are deleted when the check ends, whether or not it passed. A check has
// at most checkTime, the whole run at most runTime. A check fails by panicking with a failure.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"net"
	"os"
	"reflect"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	checkTime   = 12 * time.Second
	runTime     = 50 * time.Second
	cleanupTime = 4 * time.Second
	answerTime  = 5 * time.Second
)

type failure struct{ reason string }

func fail(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func got[T any](value T, err error) T {
	must(err)
	return value
}

func same(actual, expected any, what string) {
	if !reflect.DeepEqual(actual, expected) {
		fail("%s: expected %v, got %v", what, expected, actual)
	}
}

func numbered(count int) []string {
	texts := make([]string, count)
	for i := range texts {
		texts[i] = fmt.Sprintf("message %d", i)
	}
	return texts
}

// connection keeps the socket, so that a check can cut it.
type connection struct {
	*amqp.Connection
	socket net.Conn
}

func (c *connection) channel() *channel {
	return &channel{got(c.Channel()), c, nil}
}

// check is what one check owns.
type check struct {
	uri, base         string
	connections       []*connection
	queues, exchanges []string
}

func (t *check) connectWith(heartbeat time.Duration) *connection {
	return got(t.dial(t.uri, heartbeat))
}

func (t *check) dial(uri string, heartbeat time.Duration) (*connection, error) {
	c := &connection{}
	dial := amqp.DefaultDial(answerTime)
	conn, err := amqp.DialConfig(uri, amqp.Config{
		Heartbeat: heartbeat,
		Locale:    "en_US",
		Dial: func(network, address string) (net.Conn, error) {
			socket, err := dial(network, address)
			c.socket = socket
			return socket, err
		},
	})
	if err != nil {
		return nil, err
	}
	c.Connection = conn
	t.connections = append(t.connections, c)
	return c, nil
}

func (t *check) connect() *connection { return t.connectWith(10 * time.Second) }

func (t *check) queue(suffix string) string {
	t.queues = append(t.queues, t.base+"."+suffix)
	return t.base + "." + suffix
}

func (t *check) exchange() string {
	t.exchanges = append(t.exchanges, t.base+".x")
	return t.base + ".x"
}

// confirming opens a connection and a channel in confirm mode on it.
func (t *check) confirming() *channel {
	ch := t.connect().channel()
	ch.confirm()
	return ch
}

// filled makes a confirm channel and a durable queue that holds persistent messages.
func (t *check) filled(count int) (*channel, string) {
	ch := t.confirming()
	queue := t.queue("q")
	ch.declare(queue)
	for _, body := range numbered(count) {
		ch.publish("", queue, amqp.Publishing{Body: []byte(body), DeliveryMode: amqp.Persistent})
	}
	return ch, queue
}

func (t *check) cleanup() {
	for _, c := range t.connections {
		if !c.IsClosed() {
			_ = c.Close()
		}
	}
	if len(t.queues)+len(t.exchanges) == 0 {
		return
	}
	c := t.connect()
	ch := c.channel()
	for _, name := range t.queues {
		got(ch.QueueDelete(name, false, false, false))
	}
	for _, name := range t.exchanges {
		must(ch.ExchangeDelete(name, false, false))
	}
	must(c.Close())
}

type channel struct {
	*amqp.Channel
	connection *connection
	confirms   <-chan amqp.Confirmation
}

// confirm switches to confirm mode. The confirms are read from a listener: the deferred
// confirmations of some versions miss the acks of a broker that answers at once.
func (ch *channel) confirm() {
	must(ch.Confirm(false))
	ch.confirms = ch.NotifyPublish(make(chan amqp.Confirmation, 200))
}

// send publishes without waiting for the ack.
func (ch *channel) send(exchange, key string, mandatory bool, message amqp.Publishing) {
	must(ch.PublishWithContext(context.Background(), exchange, key, mandatory, false, message))
}

// acked waits for the acks of so many messages.
func (ch *channel) acked(count int) {
	for i := 0; i < count; i++ {
		select {
		case confirmation, ok := <-ch.confirms:
			if !ok || !confirmation.Ack {
				fail("message %d was not acked", confirmation.DeliveryTag)
			}
		case <-time.After(answerTime):
			fail("%d of %d messages were acked", i, count)
		}
	}
}

// declare declares a durable queue.
func (ch *channel) declare(queue string) amqp.Queue {
	return got(ch.QueueDeclare(queue, true, false, false, false, nil))
}

func (ch *channel) declareExchange(exchange, kind string) {
	must(ch.ExchangeDeclare(exchange, kind, true, false, false, false, nil))
}

// publish publishes on a confirm channel and waits for the ack.
func (ch *channel) publish(exchange, key string, message amqp.Publishing) {
	ch.send(exchange, key, false, message)
	ch.acked(1)
}

func (ch *channel) consume(queue string) inbox {
	return got(ch.Consume(queue, "", false, false, false, false, nil))
}

// leftAfterClosing counts what is ready after all of the channel's acks were handled.
func (ch *channel) leftAfterClosing(queue string) int {
	must(ch.Close())
	probe := ch.connection.channel()
	return got(probe.QueueDeclarePassive(queue, true, false, false, false, nil)).Messages
}

// get gets a message that is there, without acking it.
func (ch *channel) get(queue string) amqp.Delivery {
	message, ok, err := ch.Get(queue, false)
	must(err)
	if !ok {
		fail("the queue is empty")
	}
	return message
}

func (ch *channel) drain(queue string) []string {
	found := []string{}
	for {
		message, ok, err := ch.Get(queue, true)
		must(err)
		if !ok {
			return found
		}
		found = append(found, string(message.Body))
	}
}

type inbox <-chan amqp.Delivery

func (box inbox) next() amqp.Delivery {
	select {
	case message, ok := <-box:
		if !ok {
			fail("the consumer was stopped")
		}
		return message
	case <-time.After(answerTime):
		fail("nothing arrived")
	}
	panic("unreachable")
}

func (box inbox) take(count int) []amqp.Delivery {
	messages := make([]amqp.Delivery, count)
	for i := range messages {
		messages[i] = box.next()
	}
	return messages
}

func (box inbox) silence(duration time.Duration) {
	select {
	case message, ok := <-box:
		if ok {
			fail("unexpected delivery of %q", message.Body)
		}
	case <-time.After(duration):
	}
}

func bodies(messages []amqp.Delivery) []string {
	texts := make([]string, len(messages))
	for i, message := range messages {
		texts[i] = string(message.Body)
	}
	return texts
}

func expectCode(code int, err error) {
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		fail("no error where %d was due: %v", code, err)
	}
	same(refusal.Code, code, "reply code")
}

// refused expects the error with the code, and the connection to live on.
func refused(c *connection, code int, err error) {
	expectCode(code, err)
	must(c.channel().Close())
}

func checkConnect(t *check) {
	c := t.connect()
	c.channel()
	product, ok := c.Properties["product"].(string)
	if !ok || product == "" {
		fail("product is %v", c.Properties["product"])
	}
	if version, ok := c.Properties["version"].(string); !ok || !strings.Contains(version, ".") {
		fail("version is %v", c.Properties["version"])
	}
	wrongPassword := got(amqp.ParseURI(t.uri))
	wrongPassword.Password = "wrong"
	_, err := t.dial(wrongPassword.String(), 0)
	expectCode(amqp.AccessRefused, err)
	noHost := got(amqp.ParseURI(t.uri))
	noHost.Vhost = t.base
	_, err = t.dial(noHost.String(), 0)
	// The library replaces the broker's 530 by an error of its own.
	same(err, error(amqp.ErrVhost), "unknown virtual host")
}

func checkDeclare(t *check) {
	ch := t.confirming()
	queue, exchange := t.queue("q"), t.exchange()
	same(ch.declare(queue), amqp.Queue{Name: queue}, "a new queue")
	ch.declareExchange(exchange, "direct")
	must(ch.QueueBind(queue, "key", exchange, false, nil))
	for _, body := range numbered(3) {
		ch.publish(exchange, "key", amqp.Publishing{Body: []byte(body)})
	}
	same(ch.declare(queue), amqp.Queue{Name: queue, Messages: 3}, "with messages")
	ch.declareExchange(exchange, "direct")
	must(ch.ExchangeDeclarePassive(exchange, "direct", true, false, false, false, nil))
	ch.consume(queue).take(3)
	same(ch.declare(queue), amqp.Queue{Name: queue, Consumers: 1}, "with a consumer")
	other := t.queue("other")
	ch.declare(other)
	for _, body := range numbered(2) {
		ch.publish("", other, amqp.Publishing{Body: []byte(body)})
	}
	same(got(ch.QueuePurge(other, false)), 2, "purged")
	ch.publish("", other, amqp.Publishing{Body: []byte("last")})
	same(got(ch.QueueDelete(other, false, false, false)), 1, "deleted")
}

func checkConfirm(t *check) {
	ch := t.confirming()
	queue := t.queue("q")
	ch.declare(queue)
	for _, body := range numbered(100) {
		ch.send("", queue, false,
			amqp.Publishing{Body: []byte(body), DeliveryMode: amqp.Persistent})
	}
	ch.acked(100)
	same(ch.declare(queue).Messages, 100, "messages")
}

func checkConsume(t *check) {
	ch := t.confirming()
	queue := t.queue("q")
	ch.declare(queue)
	box := inbox(got(ch.Consume(queue, "the-tag", false, false, false, false, nil)))
	sent := func(i int, body string) amqp.Publishing {
		return amqp.Publishing{
			ContentType: "text/x-check", ContentEncoding: "identity",
			DeliveryMode: amqp.Persistent, Priority: 3,
			CorrelationId: fmt.Sprintf("c%d", i), ReplyTo: "somewhere",
			MessageId: fmt.Sprintf("m%d", i), Timestamp: time.Unix(1_700_000_000+int64(i), 0),
			Type: "check", AppId: "interop", Body: []byte(body),
			Headers: amqp.Table{
				"number": int32(i), "name": fmt.Sprintf("n%d", i), "yes": true, "big": int64(1) << 40,
				"nested": amqp.Table{"list": []any{int32(1), "two"}},
			},
		}
	}
	for i, body := range numbered(20) {
		ch.publish("", queue, sent(i, body))
	}
	messages := box.take(20)
	for i, body := range numbered(20) {
		m := messages[i]
		same(m.Redelivered, false, "redelivered")
		same(m.RoutingKey, queue, "routing key")
		same(m.ConsumerTag, "the-tag", "consumer tag")
		same(amqp.Publishing{
			ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
			DeliveryMode: m.DeliveryMode, Priority: m.Priority,
			CorrelationId: m.CorrelationId, ReplyTo: m.ReplyTo,
			MessageId: m.MessageId, Timestamp: m.Timestamp,
			Type: m.Type, AppId: m.AppId, Body: m.Body, Headers: m.Headers,
		}, sent(i, body), "message")
	}
	must(messages[19].Ack(true))
	must(ch.Cancel("the-tag", false))
	box.silence(50 * time.Millisecond)
}

func checkAckEach(t *check) {
	ch, queue := t.filled(5)
	for _, message := range ch.consume(queue).take(5) {
		must(message.Ack(false))
	}
	same(ch.leftAfterClosing(queue), 0, "messages left")
}

func checkAckMultiple(t *check) {
	ch, queue := t.filled(10)
	must(ch.consume(queue).take(10)[6].Ack(true))
	same(ch.leftAfterClosing(queue), 3, "messages left")
	same(ch.connection.channel().drain(queue), numbered(10)[7:], "the rest")
}

func checkNackRequeue(t *check) {
	ch, queue := t.filled(1)
	box := ch.consume(queue)
	first := box.next()
	same(first.Redelivered, false, "redelivered at first")
	must(first.Nack(false, true))
	again := box.next()
	same(again.Redelivered, true, "redelivered after the nack")
	same(string(again.Body), "message 0", "body")
	must(again.Nack(false, false))
	same(ch.leftAfterClosing(queue), 0, "messages left")

	ordered := ch.connection.channel()
	ordered.confirm()
	for _, body := range numbered(4) {
		ordered.publish("", queue, amqp.Publishing{Body: []byte(body)})
	}
	one, two := ordered.get(queue), ordered.get(queue)
	must(one.Nack(false, true))
	must(two.Nack(false, true))
	same(ordered.drain(queue), numbered(4), "order after nacks")
}

func checkRedelivered(t *check) {
	ch, queue := t.filled(1)
	other := t.connect()
	same(other.channel().consume(queue).next().Redelivered, false, "redelivered at first")
	box := ch.consume(queue)
	must(other.socket.Close())
	message := box.next()
	same(message.Redelivered, true, "redelivered after the loss")
	same(string(message.Body), "message 0", "body")
	must(message.Ack(false))
}

func checkFanout(t *check) {
	ch := t.confirming()
	exchange := t.exchange()
	ch.declareExchange(exchange, "fanout")
	queues := []string{t.queue("a"), t.queue("b")}
	for _, queue := range queues {
		ch.declare(queue)
		must(ch.QueueBind(queue, "", exchange, false, nil))
	}
	ch.publish(exchange, "ignored", amqp.Publishing{Body: []byte("to all")})
	for _, queue := range queues {
		same(ch.drain(queue), []string{"to all"}, queue)
	}
}

func checkTopic(t *check) {
	ch := t.confirming()
	exchange, star, hash := t.exchange(), t.queue("star"), t.queue("hash")
	ch.declareExchange(exchange, "topic")
	ch.declare(star)
	ch.declare(hash)
	must(ch.QueueBind(star, "a.*", exchange, false, nil))
	must(ch.QueueBind(hash, "a.#", exchange, false, nil))
	for _, key := range []string{"a", "a.b", "a.b.c", "x.b"} {
		ch.publish(exchange, key, amqp.Publishing{Body: []byte(key)})
	}
	same(ch.drain(star), []string{"a.b"}, "a.*")
	same(ch.drain(hash), []string{"a", "a.b", "a.b.c"}, "a.#")
}

func checkHeaders(t *check) {
	ch := t.confirming()
	exchange, all, any := t.exchange(), t.queue("all"), t.queue("any")
	ch.declareExchange(exchange, "headers")
	for queue, kind := range map[string]string{all: "all", any: "any"} {
		ch.declare(queue)
		must(ch.QueueBind(queue, "", exchange, false,
			amqp.Table{"x-match": kind, "format": "pdf", "pages": int32(3)}))
	}
	send := func(body string, headers amqp.Table) {
		ch.publish(exchange, "", amqp.Publishing{Body: []byte(body), Headers: headers})
	}
	send("both", amqp.Table{"format": "pdf", "pages": int32(3), "other": "x"})
	send("one", amqp.Table{"format": "pdf", "pages": int32(4)})
	send("none", amqp.Table{"format": "zip"})
	same(ch.drain(all), []string{"both"}, "x-match all")
	same(ch.drain(any), []string{"both", "one"}, "x-match any")
}

func checkGet(t *check) {
	ch, queue := t.filled(2)
	first := ch.get(queue)
	same(string(first.Body), "message 0", "body")
	same(first.Redelivered, false, "redelivered")
	same(first.MessageCount, uint32(1), "remaining after the first")
	second := ch.get(queue)
	same(second.MessageCount, uint32(0), "remaining after the second")
	must(second.Ack(true))
	_, ok, err := ch.Get(queue, false)
	must(err)
	same(ok, false, "a third is there")
}

func checkMandatory(t *check) {
	ch := t.confirming()
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	ch.send("", t.queue("missing"), true, amqp.Publishing{Body: []byte("nowhere")})
	ch.acked(1)
	select {
	case returned := <-returns:
		same(returned.ReplyCode, uint16(amqp.NoRoute), "reply code")
		same(returned.ReplyText, "NO_ROUTE", "reply text")
		same(string(returned.Body), "nowhere", "body")
	default:
		fail("acked before it was returned")
	}
}

func checkPrefetch(t *check) {
	ch, queue := t.filled(10)
	must(ch.Qos(3, 0, false))
	box := ch.consume(queue)
	messages := box.take(3)
	box.silence(300 * time.Millisecond)
	must(messages[2].Ack(true))
	messages = append(messages, box.take(3)...)
	box.silence(300 * time.Millisecond)
	same(bodies(messages), numbered(6), "bodies")
}

func checkBody10MiB(t *check) {
	ch := t.confirming()
	queue := t.queue("q")
	ch.declare(queue)
	body := make([]byte, 10*1024*1024)
	rand.New(rand.NewSource(1)).Read(body)
	ch.publish("", queue, amqp.Publishing{Body: body})
	box := ch.consume(queue)
	message := box.next()
	must(message.Ack(false))
	same(len(message.Body), len(body), "size")
	same(bytes.Equal(message.Body, body), true, "equal bodies")
	ch.publish("", queue, amqp.Publishing{})
	same(len(box.next().Body), 0, "size of an empty body")
}

func checkError404(t *check) {
	c := t.connect()
	_, err := c.channel().QueueDeclarePassive(t.queue("missing"), true, false, false, false, nil)
	refused(c, amqp.NotFound, err)
	refused(c, amqp.NotFound, c.channel().ExchangeDeclarePassive(
		t.exchange(), "direct", true, false, false, false, nil))
}

func checkError405(t *check) {
	queue := t.queue("q")
	got(t.connect().channel().QueueDeclare(queue, false, false, true, false, nil))
	c := t.connect()
	_, err := c.channel().QueueDeclarePassive(queue, false, false, true, false, nil)
	refused(c, amqp.ResourceLocked, err)
}

func checkError406(t *check) {
	c := t.connect()
	ch := c.channel()
	queue := t.queue("q")
	ch.declare(queue)
	_, err := ch.QueueDeclare(queue, false, false, false, false, nil)
	refused(c, amqp.PreconditionFailed, err)
	// An ack has no answer, so its error comes by a notification.
	other := c.channel()
	closed := other.NotifyClose(make(chan *amqp.Error, 1))
	must(other.Ack(99, false))
	select {
	case err := <-closed:
		refused(c, amqp.PreconditionFailed, err)
	case <-time.After(answerTime):
		fail("the ack of an unknown tag was accepted")
	}
}

func checkHeartbeat(t *check) {
	c := t.connectWith(time.Second)
	same(c.Config.Heartbeat, time.Second, "negotiated heartbeat")
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	select {
	case err := <-closed:
		fail("the connection was lost: %v", err)
	case <-time.After(4500 * time.Millisecond):
	}
	declared := got(c.channel().QueueDeclare(t.queue("q"), false, false, true, false, nil))
	same(declared.Messages, 0, "messages")
}

func checkClose(t *check) {
	c := t.connect()
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	must(c.channel().Close())
	queue := t.queue("q")
	got(c.channel().QueueDeclare(queue, false, false, true, false, nil))
	must(c.Close())
	// close-ok came, or Close had failed. The client may read the end of the socket behind it before it is done
	// with Close itself, and then reports that.
	if err := <-closed; err != nil && (err.Code != amqp.FrameError || err.Reason != "EOF") {
		fail("an error was reported: %v", err)
	}
	same(c.IsClosed(), true, "closed")
	again := t.connect()
	_, err := again.channel().QueueDeclarePassive(queue, false, false, true, false, nil)
	refused(again, amqp.NotFound, err)
}

var checks = []struct {
	name string
	run  func(*check)
}{
	{"connect", checkConnect},
	{"declare", checkDeclare},
	{"confirm", checkConfirm},
	{"consume", checkConsume},
	{"ack_each", checkAckEach},
	{"ack_multiple", checkAckMultiple},
	{"nack_requeue", checkNackRequeue},
	{"redelivered", checkRedelivered},
	{"fanout", checkFanout},
	{"topic", checkTopic},
	{"headers", checkHeaders},
	{"get", checkGet},
	{"mandatory", checkMandatory},
	{"prefetch", checkPrefetch},
	{"body_10mib", checkBody10MiB},
	{"error_404", checkError404},
	{"error_405", checkError405},
	{"error_406", checkError406},
	{"heartbeat", checkHeartbeat},
	{"close", checkClose},
}

// limited runs the action and returns why it failed, or "". The action has the given time, and
// less near the end of the run.
func limited(limit time.Duration, deadline time.Time, action func()) string {
	if left := time.Until(deadline); left < limit {
		limit = left
	}
	if limit <= 0 {
		return "the run took too long"
	}
	result := make(chan string, 1)
	go func() {
		defer func() {
			switch reason := recover().(type) {
			case nil:
				result <- ""
			case failure:
				result <- reason.reason
			default:
				result <- fmt.Sprint(reason)
			}
		}()
		action()
	}()
	select {
	case reason := <-result:
		return reason
	case <-time.After(limit):
		return "it did not end"
	}
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 300 {
		return text[:300]
	}
	return text
}

func main() {
	uri := flag.String("uri", "", "amqp://user:password@host:port/vhost")
	prefix := flag.String("prefix", "", "what all queue and exchange names begin with")
	flag.Parse()
	if *uri == "" || *prefix == "" {
		flag.Usage()
		os.Exit(2)
	}
	deadline := time.Now().Add(runTime)
	status := 0
	for _, entry := range checks {
		t := &check{uri: *uri, base: *prefix + "." + entry.name}
		if reason := limited(checkTime, deadline, func() { entry.run(t) }); reason == "" {
			fmt.Printf("CHECK %s ok\n", entry.name)
		} else {
			status = 1
			fmt.Printf("CHECK %s FAIL %s\n", entry.name, oneLine(reason))
		}
		if reason := limited(cleanupTime, deadline, t.cleanup); reason != "" {
			fmt.Fprintf(os.Stderr, "cleanup of %s: %s\n", entry.name, oneLine(reason))
		}
	}
	os.Exit(status)
}
