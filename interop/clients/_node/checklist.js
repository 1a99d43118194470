'use strict';
/*
 * The checklist for the Node clients, written once against a small adapter.
 *
 * An adapter is {connect(uri, {heartbeat}), replyCode(error)}.
 * A connection has serverProperties (null if the library does not keep them), heartbeat (likewise),
 * channel({confirm}), close(), drop() (cuts the socket) and failures (errors it reported by itself).
 * A channel has declareQueue(name, {durable, exclusive, passive}) -> {messages, consumers},
 * purgeQueue(name) -> count, deleteQueue(name) -> count,
 * declareExchange(name, type, {passive, durable}), deleteExchange(name),
 * bind(queue, exchange, key, args), publish(exchange, key, body, {properties, mandatory}) (on a
 * confirm channel resolved by the broker's ack), consume(queue, callback) -> tag, cancel(tag),
 * get(queue) -> message or null, qos(count), ack(message, multiple), nack(message, requeue),
 * onReturn(callback), close() and errors (those that belong to no call).
 * A message is {body, redelivered, routingKey, remaining, properties}.
 */
const assert = require('node:assert/strict');
const { Inbox, sleep, within } = require('./harness');

const PERSISTENT = { deliveryMode: 2 };

const text = (message) => Buffer.from(message.body).toString();
const bodies = (messages) => messages.map(text);
const numbered = (count) => Array.from({ length: count }, (_, i) => `message ${i}`);

module.exports = (client) => {
  /** A confirm channel on a new connection, with a durable queue that holds `count` messages. */
  async function filled(t, count) {
    const connection = await t.connect();
    const channel = await connection.channel({ confirm: true });
    const queue = t.queue();
    await channel.declareQueue(queue, { durable: true });
    for (const body of numbered(count)) {
      await channel.publish('', queue, Buffer.from(body), { properties: PERSISTENT });
    }
    return { connection, channel, queue };
  }

  /** What is ready in `queue`, counted after all of `channel`'s acks were handled. */
  async function leftAfterClosing(connection, channel, queue) {
    await channel.close();
    const probe = await connection.channel();
    return (await probe.declareQueue(queue, { passive: true })).messages;
  }

  /**
   * Runs `action` on a new channel, which must be closed with `code`, and shows that the connection
   * lives on. The library may report the code by the call that it belongs to or by an event.
   */
  async function refused(connection, code, action) {
    const closing = await connection.channel();
    let error = null;
    try {
      await action(closing);
    } catch (caught) {
      error = caught;
    }
    assert.ok(error, `no error where ${code} was due`);
    const reported = closing.errors[0] ?? error;
    assert.equal(client.replyCode(reported), code, `${reported.message}`);
    const channel = await connection.channel();
    await channel.close();
  }

  async function drain(channel, queue) {
    const found = [];
    for (let m = await channel.get(queue); m; m = await channel.get(queue)) found.push(text(m));
    return found;
  }

  return {
    async connect(t) {
      const connection = await t.connect();
      await connection.channel();
      if (connection.serverProperties) {
        const { product, version } = connection.serverProperties;
        assert.equal(typeof product, 'string');
        assert.notEqual(product, '');
        assert.match(version, /^\d+(\.\d+)+/);
      }
      const wrongPassword = new URL(t.uri);
      wrongPassword.password = 'wrong';
      await assert.rejects(client.connect(wrongPassword.href, {}), 'wrong password');
      const noHost = new URL(t.uri);
      noHost.pathname = `/${t.base}`;
      await assert.rejects(client.connect(noHost.href, {}), 'unknown virtual host');
    },

    async declare(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const queue = t.queue();
      const other = t.queue('other');
      const exchange = t.exchange();
      await channel.declareQueue(other, { durable: true });
      assert.deepEqual(await channel.declareQueue(queue, { durable: true }),
        { messages: 0, consumers: 0 });
      await channel.declareExchange(exchange, 'direct', { durable: true });
      await channel.bind(queue, exchange, 'key');
      for (const body of numbered(3)) await channel.publish(exchange, 'key', Buffer.from(body));
      assert.deepEqual(await channel.declareQueue(queue, { durable: true }),
        { messages: 3, consumers: 0 });
      await channel.declareExchange(exchange, 'direct', { durable: true });
      await channel.declareExchange(exchange, 'direct', { passive: true });
      const inbox = new Inbox();
      await channel.consume(queue, inbox.push);
      await inbox.take(3);
      assert.deepEqual(await channel.declareQueue(queue, { durable: true }),
        { messages: 0, consumers: 1 });
      for (const body of numbered(2)) await channel.publish('', other, Buffer.from(body));
      assert.equal(await channel.purgeQueue(other), 2);
      await channel.publish('', other, Buffer.from('last'));
      assert.equal(await channel.deleteQueue(other), 1);
    },

    async confirm(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const queue = t.queue();
      await channel.declareQueue(queue, { durable: true });
      const publishing = numbered(100).map((body) =>
        channel.publish('', queue, Buffer.from(body), { properties: PERSISTENT }));
      await Promise.all(publishing);
      assert.equal((await channel.declareQueue(queue, { passive: true })).messages, 100);
    },

    async consume(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const queue = t.queue();
      await channel.declareQueue(queue, { durable: true });
      const inbox = new Inbox();
      const tag = await channel.consume(queue, inbox.push);
      for (const [i, body] of numbered(20).entries()) {
        await channel.publish('', queue, Buffer.from(body), {
          properties: {
            contentType: 'text/x-check',
            contentEncoding: 'identity',
            deliveryMode: 2,
            priority: 3,
            correlationId: `c${i}`,
            replyTo: 'somewhere',
            messageId: `m${i}`,
            type: 'check',
            appId: 'interop',
            headers: { number: i, name: `n${i}`, yes: true, nested: { list: [1, 'two'] } },
          },
        });
      }
      const messages = await inbox.take(20);
      assert.deepEqual(bodies(messages), numbered(20));
      for (const [i, message] of messages.entries()) {
        const p = message.properties;
        assert.equal(message.redelivered, false);
        assert.equal(message.routingKey, queue);
        assert.equal(p.contentType, 'text/x-check');
        assert.equal(p.contentEncoding, 'identity');
        assert.equal(p.deliveryMode, 2);
        assert.equal(p.priority, 3);
        assert.equal(p.correlationId, `c${i}`);
        assert.equal(p.replyTo, 'somewhere');
        assert.equal(p.messageId, `m${i}`);
        assert.equal(p.type, 'check');
        assert.equal(p.appId, 'interop');
        assert.deepEqual({ ...p.headers },
          { number: i, name: `n${i}`, yes: true, nested: { list: [1, 'two'] } });
      }
      await channel.ack(messages[19], true);
      await channel.cancel(tag);
      await inbox.silence(50);
    },

    async ack_each(t) {
      const { connection, channel, queue } = await filled(t, 5);
      const inbox = new Inbox();
      await channel.consume(queue, inbox.push);
      for (const message of await inbox.take(5)) await channel.ack(message, false);
      assert.equal(await leftAfterClosing(connection, channel, queue), 0);
    },

    async ack_multiple(t) {
      const { connection, channel, queue } = await filled(t, 10);
      const inbox = new Inbox();
      await channel.consume(queue, inbox.push);
      const messages = await inbox.take(10);
      await channel.ack(messages[6], true);
      assert.equal(await leftAfterClosing(connection, channel, queue), 3);
      assert.deepEqual(await drain(await connection.channel(), queue), numbered(10).slice(7));
    },

    async nack_requeue(t) {
      const { connection, channel, queue } = await filled(t, 1);
      const inbox = new Inbox();
      await channel.consume(queue, inbox.push);
      const first = await inbox.next();
      assert.equal(first.redelivered, false);
      await channel.nack(first, true);
      const again = await inbox.next();
      assert.equal(again.redelivered, true);
      assert.equal(text(again), 'message 0');
      await channel.nack(again, false);
      assert.equal(await leftAfterClosing(connection, channel, queue), 0);

      const ordered = await connection.channel({ confirm: true });
      for (const body of numbered(4)) await ordered.publish('', queue, Buffer.from(body));
      const taken = [await ordered.get(queue), await ordered.get(queue)];
      for (const message of taken) await ordered.nack(message, true);
      assert.deepEqual(await drain(ordered, queue), numbered(4));
    },

    async redelivered(t) {
      const { channel, queue } = await filled(t, 1);
      const other = await t.connect();
      const lost = new Inbox();
      await (await other.channel()).consume(queue, lost.push);
      assert.equal((await lost.next()).redelivered, false);
      const inbox = new Inbox();
      await channel.consume(queue, inbox.push);
      other.drop();
      const message = await inbox.next();
      assert.equal(message.redelivered, true);
      assert.equal(text(message), 'message 0');
      await channel.ack(message, false);
    },

    async fanout(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const exchange = t.exchange();
      const queues = [t.queue('a'), t.queue('b')];
      await channel.declareExchange(exchange, 'fanout', { durable: true });
      for (const queue of queues) {
        await channel.declareQueue(queue, { durable: true });
        await channel.bind(queue, exchange, '');
      }
      await channel.publish(exchange, 'ignored', Buffer.from('to all'));
      for (const queue of queues) assert.deepEqual(await drain(channel, queue), ['to all']);
    },

    async topic(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const exchange = t.exchange();
      const star = t.queue('star');
      const hash = t.queue('hash');
      await channel.declareExchange(exchange, 'topic', { durable: true });
      await channel.declareQueue(star, { durable: true });
      await channel.declareQueue(hash, { durable: true });
      await channel.bind(star, exchange, 'a.*');
      await channel.bind(hash, exchange, 'a.#');
      for (const key of ['a', 'a.b', 'a.b.c', 'x.b']) {
        await channel.publish(exchange, key, Buffer.from(key));
      }
      assert.deepEqual(await drain(channel, star), ['a.b']);
      assert.deepEqual(await drain(channel, hash), ['a', 'a.b', 'a.b.c']);
    },

    async headers(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const exchange = t.exchange();
      const all = t.queue('all');
      const any = t.queue('any');
      await channel.declareExchange(exchange, 'headers', { durable: true });
      await channel.declareQueue(all, { durable: true });
      await channel.declareQueue(any, { durable: true });
      const match = { format: 'pdf', pages: 3 };
      await channel.bind(all, exchange, '', { 'x-match': 'all', ...match });
      await channel.bind(any, exchange, '', { 'x-match': 'any', ...match });
      const send = (body, headers) =>
        channel.publish(exchange, '', Buffer.from(body), { properties: { headers } });
      await send('both', { format: 'pdf', pages: 3, other: 'x' });
      await send('one', { format: 'pdf', pages: 4 });
      await send('none', { format: 'zip' });
      assert.deepEqual(await drain(channel, all), ['both']);
      assert.deepEqual(await drain(channel, any), ['both', 'one']);
    },

    async get(t) {
      const { channel, queue } = await filled(t, 2);
      const first = await channel.get(queue);
      assert.equal(text(first), 'message 0');
      assert.equal(first.remaining, 1);
      assert.equal(first.redelivered, false);
      const second = await channel.get(queue);
      assert.equal(second.remaining, 0);
      await channel.ack(second, true);
      assert.equal(await channel.get(queue), null);
    },

    async mandatory(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const inbox = new Inbox();
      channel.onReturn(inbox.push);
      await channel.publish('', t.queue('missing'), Buffer.from('nowhere'), { mandatory: true });
      const returned = await inbox.next();
      assert.equal(returned.replyCode, 312);
      assert.equal(returned.replyText, 'NO_ROUTE');
      assert.equal(text(returned), 'nowhere');
    },

    async prefetch(t) {
      const { channel, queue } = await filled(t, 10);
      await channel.qos(3);
      const inbox = new Inbox();
      await channel.consume(queue, inbox.push);
      const messages = await inbox.take(3);
      await inbox.silence();
      await channel.ack(messages[2], true);
      messages.push(...await inbox.take(3));
      await inbox.silence();
      assert.deepEqual(bodies(messages), numbered(6));
    },

    async body_10mib(t) {
      const connection = await t.connect();
      const channel = await connection.channel({ confirm: true });
      const queue = t.queue();
      await channel.declareQueue(queue, { durable: true });
      const body = Buffer.alloc(10 * 1024 * 1024);
      for (let i = 0; i < body.length; i += 4) body.writeUInt32BE(Math.imul(i, 2654435761) >>> 0, i);
      await channel.publish('', queue, body);
      const inbox = new Inbox();
      await channel.consume(queue, inbox.push);
      const message = await inbox.next(10_000);
      await channel.ack(message, false);
      assert.equal(message.body.length, body.length);
      assert.ok(body.equals(message.body), 'the body came back changed');
      await channel.publish('', queue, Buffer.alloc(0));
      const empty = await inbox.next();
      await channel.ack(empty, false);
      assert.equal(text(empty), '');
    },

    async error_404(t) {
      const connection = await t.connect();
      await refused(connection, 404,
        (channel) => channel.declareQueue(t.queue('missing'), { passive: true }));
      await refused(connection, 404,
        (channel) => channel.declareExchange(t.exchange('missing'), 'direct', { passive: true }));
    },

    async error_405(t) {
      const owner = await t.connect();
      const queue = t.queue();
      await (await owner.channel()).declareQueue(queue, { exclusive: true });
      const connection = await t.connect();
      await refused(connection, 405, (channel) => channel.declareQueue(queue, { passive: true }));
    },

    async error_406(t) {
      const connection = await t.connect();
      const channel = await connection.channel();
      const queue = t.queue();
      await channel.declareQueue(queue, { durable: true });
      await refused(connection, 406, (other) => other.declareQueue(queue, { durable: false }));
      await refused(connection, 406, async (other) => {
        await other.publish('', queue, Buffer.from('acked twice'));
        const delivered = await other.get(queue);
        await other.ack(delivered, false);
        await other.ack(delivered, false);
        await other.declareQueue(queue, { passive: true });
      });
    },

    async heartbeat(t) {
      const connection = await t.connect({ heartbeat: 1 });
      if (connection.heartbeat !== null) assert.equal(connection.heartbeat, 1);
      await sleep(4_500);
      assert.deepEqual(connection.failures, []);
      const channel = await connection.channel();
      const queue = t.queue();
      assert.equal((await channel.declareQueue(queue, { exclusive: true })).messages, 0);
    },

    async close(t) {
      const connection = await t.connect();
      const channel = await connection.channel();
      await channel.close();
      const queue = t.queue();
      await (await connection.channel()).declareQueue(queue, { exclusive: true });
      await within(3_000, 'connection close', connection.close());
      assert.deepEqual(connection.failures, []);
      await refused(await t.connect(), 404, (other) => other.declareQueue(queue, { passive: true }));
    },
  };
};
