'use strict';
/*
 * Runs the checks of one Node client and reports one line per check.
 *
 * Every check gets its own context: names with the run's prefix, connections that are closed and
 * queues and exchanges that are deleted when the check ends, whether or not it passed. A check has
 * at most CHECK_MS, the whole run at most RUN_MS, so that a broker that does not answer costs
 * failed checks and never a hanging program.
 */
const assert = require('node:assert/strict');
const { parseArgs } = require('node:util');

const CHECK_MS = 12_000;
const RUN_MS = 50_000;
const CLEANUP_MS = 2_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Rejects with `what` if `promise` is not settled in `ms`. */
function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timeout: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Collects what callbacks deliver, so that a check can wait for it in order. */
class Inbox {
  constructor() {
    this.items = [];
    this.waiting = null;
    this.push = this.push.bind(this);
  }

  push(item) {
    this.items.push(item);
    if (this.waiting) this.waiting();
  }

  /** The next item, which must arrive within `ms`. */
  async next(ms = 5_000) {
    if (this.items.length === 0) {
      await within(ms, 'nothing arrived', new Promise((resolve) => { this.waiting = resolve; }));
      this.waiting = null;
    }
    return this.items.shift();
  }

  async take(count) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }

  /** Fails if anything more arrives within `ms`. */
  async silence(ms = 300) {
    await sleep(ms);
    assert.equal(this.items.length, 0, `${this.items.length} unexpected deliveries`);
  }
}

/** What one check owns. */
class Context {
  constructor(client, uri, prefix, check) {
    this.client = client;
    this.uri = uri;
    this.base = `${prefix}.${check}`;
    this.connections = [];
    this.queues = [];
    this.exchanges = [];
  }

  async connect(options = {}) {
    const connection = await this.client.connect(this.uri, options);
    this.connections.push(connection);
    return connection;
  }

  queue(suffix = 'q') {
    const name = `${this.base}.${suffix}`;
    this.queues.push(name);
    return name;
  }

  exchange(suffix = 'x') {
    const name = `${this.base}.${suffix}`;
    this.exchanges.push(name);
    return name;
  }

  async cleanup() {
    for (const connection of this.connections) {
      await within(CLEANUP_MS, 'close', connection.close()).catch(() => connection.drop());
    }
    if (this.queues.length + this.exchanges.length === 0) return;
    const connection = await this.client.connect(this.uri, {});
    try {
      const channel = await connection.channel();
      for (const name of this.queues) await channel.deleteQueue(name);
      for (const name of this.exchanges) await channel.deleteExchange(name);
      await connection.close();
    } catch (error) {
      connection.drop();
      throw error;
    }
  }
}

function oneLine(error) {
  const text = error && error.message ? error.message : String(error);
  return text.replace(/\s+/g, ' ').trim().slice(0, 300);
}

/** Runs `checks` (a map of name to async function of a context) on `client`; ends the process. */
async function run(client, checks) {
  const { values } = parseArgs({
    options: { uri: { type: 'string' }, prefix: { type: 'string' } },
  });
  if (!values.uri || !values.prefix) {
    console.error('usage: --uri amqp://user:password@host:port/vhost --prefix NAME');
    process.exit(2);
  }
  process.on('unhandledRejection', (error) => console.error('unhandled:', oneLine(error)));
  const end = Date.now() + RUN_MS;
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    const context = new Context(client, values.uri, values.prefix, name);
    const left = Math.min(CHECK_MS, end - Date.now());
    let verdict = 'ok';
    try {
      if (left <= 0) throw new Error('the run took too long');
      await within(left, 'the check did not end', check(context));
    } catch (error) {
      failed += 1;
      verdict = `FAIL ${oneLine(error)}`;
    }
    console.log(`CHECK ${name} ${verdict}`);
    const rest = Math.min(2 * CLEANUP_MS, end - Date.now());
    if (rest <= 0) continue;
    await within(rest, 'cleanup', context.cleanup()).catch((error) => {
      console.error(`cleanup of ${name}: ${oneLine(error)}`);
    });
  }
  process.exit(failed === 0 ? 0 : 1);
}

module.exports = { Inbox, run, sleep, within };
