'use strict';
/* amqplib's promise interface as an adapter for the checklist. */
const amqp = require('amqplib');
const checklist = require('../_node/checklist');
const { run } = require('../_node/harness');

function message({ content, fields, properties }) {
  return {
    body: content,
    redelivered: fields.redelivered,
    routingKey: fields.routingKey,
    remaining: fields.messageCount,
    replyCode: fields.replyCode,
    replyText: fields.replyText,
    properties,
    raw: { content, fields, properties },
  };
}

class Channel {
  constructor(channel, confirm) {
    this.channel = channel;
    this.confirm = confirm;
    this.errors = [];
    channel.on('error', (error) => this.errors.push(error));
  }

  async declareQueue(name, { passive = false, durable = false, exclusive = false }) {
    const { messageCount, consumerCount } = passive
      ? await this.channel.checkQueue(name)
      : await this.channel.assertQueue(name, { durable, exclusive });
    return { messages: messageCount, consumers: consumerCount };
  }

  declareExchange(name, type, { passive = false, durable = false }) {
    return passive
      ? this.channel.checkExchange(name)
      : this.channel.assertExchange(name, type, { durable });
  }

  async purgeQueue(name) { return (await this.channel.purgeQueue(name)).messageCount; }
  async deleteQueue(name) { return (await this.channel.deleteQueue(name)).messageCount; }
  deleteExchange(name) { return this.channel.deleteExchange(name); }
  bind(queue, exchange, key, args) { return this.channel.bindQueue(queue, exchange, key, args); }

  publish(exchange, key, body, { properties = {}, mandatory = false } = {}) {
    const { deliveryMode, ...rest } = properties;
    const options = { ...rest, deliveryMode, mandatory };
    if (!this.confirm) {
      this.channel.publish(exchange, key, body, options);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.channel.publish(exchange, key, body, options, (error) => (error ? reject(error) : resolve()));
    });
  }

  async consume(queue, callback) {
    return (await this.channel.consume(queue, (raw) => callback(message(raw)))).consumerTag;
  }

  cancel(tag) { return this.channel.cancel(tag); }

  async get(queue) {
    const raw = await this.channel.get(queue);
    return raw ? message(raw) : null;
  }

  qos(count) { return this.channel.prefetch(count); }
  async ack(m, multiple) { this.channel.ack(m.raw, multiple); }
  async nack(m, requeue) { this.channel.nack(m.raw, false, requeue); }
  onReturn(callback) { this.channel.on('return', (raw) => callback(message(raw))); }
  close() { return this.channel.close(); }
}

class Connection {
  constructor(model) {
    this.model = model;
    this.failures = [];
    this.closed = false;
    model.on('error', (error) => this.failures.push(error.message));
    model.on('close', () => { this.closed = true; });
  }

  get serverProperties() { return this.model.connection.serverProperties; }
  get heartbeat() { return this.model.connection.heartbeat; }

  async channel({ confirm = false } = {}) {
    const channel = confirm
      ? await this.model.createConfirmChannel()
      : await this.model.createChannel();
    return new Channel(channel, confirm);
  }

  async close() {
    if (!this.closed) await this.model.close();
  }

  drop() { this.model.connection.stream.destroy(); }
}

const client = {
  async connect(uri, { heartbeat }) {
    const url = new URL(uri);
    if (heartbeat) url.searchParams.set('heartbeat', String(heartbeat));
    return new Connection(await amqp.connect(url.href, { timeout: 5_000 }));
  },

  replyCode(error) { return error.code; },
};

run(client, checklist(client));
