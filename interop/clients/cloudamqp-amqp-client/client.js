'use strict';
/*
 * @cloudamqp/amqp-client (its low level interface) as an adapter for the checklist.
 *
 * The library skips the server properties, so the check `connect` cannot look at them. Reply codes
 * are only found at the end of its error texts: "channel 1 closed: NOT_FOUND - ... (404)".
 */
const { AMQPClient } = require('@cloudamqp/amqp-client');
const checklist = require('../_node/checklist');
const { run, within } = require('../_node/harness');

class Channel {
  constructor(channel) {
    this.channel = channel;
    this.errors = [];
    channel.onerror = (reason) => this.errors.push(new Error(reason));
  }

  async declareQueue(name, { passive = false, durable = false, exclusive = false }) {
    const options = { passive, durable, exclusive, autoDelete: false };
    const { messageCount, consumerCount } = await this.channel.queueDeclare(name, options);
    return { messages: messageCount, consumers: consumerCount };
  }

  declareExchange(name, type, { passive = false, durable = false }) {
    return this.channel.exchangeDeclare(name, type, { passive, durable, autoDelete: false });
  }

  async purgeQueue(name) { return (await this.channel.queuePurge(name)).messageCount; }
  async deleteQueue(name) { return (await this.channel.queueDelete(name)).messageCount; }
  deleteExchange(name) { return this.channel.exchangeDelete(name); }
  bind(queue, exchange, key, args) { return this.channel.queueBind(queue, exchange, key, args); }

  publish(exchange, key, body, { properties = {}, mandatory = false } = {}) {
    return this.channel.basicPublish(exchange, key, body, properties, mandatory);
  }

  async consume(queue, callback) {
    const consumer = await this.channel.basicConsume(queue, { noAck: false },
      (raw) => callback(message(raw)));
    return consumer.tag;
  }

  cancel(tag) { return this.channel.basicCancel(tag); }

  async get(queue) {
    const raw = await this.channel.basicGet(queue, { noAck: false });
    return raw ? message(raw) : null;
  }

  qos(count) { return this.channel.basicQos(count); }
  ack(m, multiple) { return this.channel.basicAck(m.deliveryTag, multiple); }
  nack(m, requeue) { return this.channel.basicNack(m.deliveryTag, requeue); }
  onReturn(callback) { this.channel.onReturn = (raw) => callback(message(raw)); }
  close() { return this.channel.close(); }
}

function message(raw) {
  return {
    body: raw.body,
    redelivered: raw.redelivered,
    routingKey: raw.routingKey,
    remaining: raw.messageCount,
    replyCode: raw.replyCode,
    replyText: raw.replyText,
    deliveryTag: raw.deliveryTag,
    properties: raw.properties,
  };
}

class Connection {
  constructor(amqp) {
    this.amqp = amqp;
    this.serverProperties = null;
    this.failures = [];
    amqp.onerror = (error) => this.failures.push(error.message);
  }

  get heartbeat() { return this.amqp.heartbeat; }

  async channel({ confirm = false } = {}) {
    const channel = await this.amqp.channel();
    if (confirm) await channel.confirmSelect();
    return new Channel(channel);
  }

  async close() {
    if (!this.amqp.closed) await this.amqp.close();
  }

  drop() { if (this.amqp.socket) this.amqp.socket.destroy(); }
}

const client = {
  async connect(uri, { heartbeat }) {
    const url = new URL(uri);
    if (heartbeat) url.searchParams.set('heartbeat', String(heartbeat));
    const amqp = new AMQPClient(url.href, undefined, null);
    const connection = new Connection(amqp);
    await within(5_000, 'connect', amqp.connect());
    return connection;
  },

  replyCode(error) {
    const found = /\((\d{3})\)$/.exec(error.message);
    return found ? Number(found[1]) : error.message;
  },
};

run(client, checklist(client));
