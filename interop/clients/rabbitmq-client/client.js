'use strict';
/*
 * rabbitmq-client as an adapter for the checklist.
 *
 * The library throws the server properties away, so the check `connect` cannot look at them, and it
 * reconnects by itself: an error it reports on the connection is recorded as a failure. It names
 * reply codes instead of giving their numbers.
 */
const { Connection: Rabbit } = require('rabbitmq-client');
const checklist = require('../_node/checklist');
const { run, within } = require('../_node/harness');

const REPLY_CODES = { NOT_FOUND: 404, RESOURCE_LOCKED: 405, PRECONDITION_FAILED: 406 };

function message(raw) {
  // The library parses bodies of some content types; the checks want the bytes.
  const body = Buffer.isBuffer(raw.body) ? raw.body : Buffer.from(String(raw.body));
  return {
    body,
    redelivered: raw.redelivered,
    routingKey: raw.routingKey,
    remaining: raw.messageCount,
    replyCode: raw.replyCode,
    replyText: raw.replyText,
    deliveryTag: raw.deliveryTag,
    properties: { ...raw, deliveryMode: raw.durable ? 2 : 1 },
  };
}

class Channel {
  constructor(channel) {
    this.channel = channel;
    this.errors = [];
    channel.on('error', (error) => this.errors.push(error));
  }

  async declareQueue(queue, { passive = false, durable = false, exclusive = false }) {
    const ok = await this.channel.queueDeclare({ queue, passive, durable, exclusive });
    return { messages: ok.messageCount, consumers: ok.consumerCount };
  }

  declareExchange(exchange, type, { passive = false, durable = false }) {
    return this.channel.exchangeDeclare({ exchange, type, passive, durable });
  }

  async purgeQueue(queue) { return (await this.channel.queuePurge({ queue })).messageCount; }
  async deleteQueue(queue) { return (await this.channel.queueDelete({ queue })).messageCount; }
  deleteExchange(exchange) { return this.channel.exchangeDelete({ exchange }); }

  bind(queue, exchange, routingKey, args) {
    return this.channel.queueBind({ queue, exchange, routingKey, arguments: args });
  }

  publish(exchange, routingKey, body, { properties = {}, mandatory = false } = {}) {
    const { deliveryMode, ...rest } = properties;
    const durable = deliveryMode === 2;
    return this.channel.basicPublish({ ...rest, exchange, routingKey, durable, mandatory }, body);
  }

  async consume(queue, callback) {
    const ok = await this.channel.basicConsume({ queue }, (raw) => callback(message(raw)));
    return ok.consumerTag;
  }

  cancel(tag) { return this.channel.basicCancel(tag); }

  async get(queue) {
    const raw = await this.channel.basicGet({ queue });
    return raw ? message(raw) : null;
  }

  qos(prefetchCount) { return this.channel.basicQos({ prefetchCount }); }
  async ack({ deliveryTag }, multiple) { this.channel.basicAck({ deliveryTag, multiple }); }
  async nack({ deliveryTag }, requeue) { this.channel.basicNack({ deliveryTag, requeue }); }
  onReturn(callback) { this.channel.on('basic.return', (raw) => callback(message(raw))); }
  close() { return this.channel.close(); }
}

class Connection {
  constructor(rabbit) {
    this.rabbit = rabbit;
    this.serverProperties = null;
    this.heartbeat = null;
    this.failures = [];
    this.channels = [];
    rabbit.on('error', (error) => this.failures.push(error.message));
  }

  async channel({ confirm = false } = {}) {
    const channel = await this.rabbit.acquire({ emitErrorsFromChannel: true });
    this.channels.push(channel);
    if (confirm) await channel.confirmSelect();
    return new Channel(channel);
  }

  /** The library's close waits until every channel was closed by its owner. */
  async close() {
    for (const channel of this.channels) await channel.close();
    await this.rabbit.close();
  }

  drop() { this.rabbit.unsafeDestroy(); }
}

const client = {
  async connect(url, { heartbeat = 60 }) {
    const rabbit = new Rabbit({ url, heartbeat, connectionTimeout: 5_000, acquireTimeout: 5_000 });
    const connection = new Connection(rabbit);
    try {
      await within(5_000, 'connect', rabbit.onConnect(5_000));
    } catch (error) {
      connection.drop();
      throw connection.failures.length > 0 ? new Error(connection.failures[0]) : error;
    }
    return connection;
  },

  replyCode(error) { return REPLY_CODES[error.code] ?? error.code; },
};

run(client, checklist(client));
