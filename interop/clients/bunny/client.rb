# frozen_string_literal: true

# Runs the interop checklist with Bunny.
#
# Every check gets its own context: names with the run's prefix, connections that are closed and
# queues and exchanges that are deleted when the check ends, whether or not it passed. A check has
# at most CHECK_S seconds, the whole run at most RUN_S.

require 'bunny'
require 'optparse'
require 'timeout'

CHECK_S = 12
RUN_S = 50
CLEANUP_S = 4

$stdout.sync = true
Thread.report_on_exception = false

class Failed < StandardError; end

def check_that(condition, what)
  raise Failed, what unless condition
end

def same(actual, expected, what)
  check_that(actual == expected, "#{what}: expected #{expected.inspect}, got #{actual.inspect}")
end

Message = Struct.new(:info, :properties, :body) do
  def tag = info.delivery_tag
  def redelivered = info.redelivered?
end

# What arrived at a callback, in order.
class Inbox
  def initialize
    @queue = Queue.new
  end

  def push(message) = @queue.push(message)

  def next(seconds = 5)
    Timeout.timeout(seconds, Failed, 'nothing arrived') { @queue.pop }
  end

  def take(count) = Array.new(count) { self.next }

  def silence(seconds = 0.3)
    sleep seconds
    check_that(@queue.empty?, "#{@queue.size} unexpected deliveries")
  end
end

# Takes the errors of a connection that is cut on purpose.
class Ignored
  def raise(*) = nil
end

# What one check owns.
class Context
  attr_reader :uri, :base

  def initialize(uri, prefix, check)
    @uri = uri
    @base = "#{prefix}.#{check}"
    @connections = []
    @queues = []
    @exchanges = []
  end

  # `errors` gets what goes wrong in the connection's own threads: by default the check fails.
  def connect(heartbeat: 60, errors: Thread.current, uri: @uri)
    connection = Bunny.new(uri, heartbeat: heartbeat, automatically_recover: false,
                                 connection_timeout: 5, continuation_timeout: 5_000,
                                 session_error_handler: errors, logger: Logger.new(IO::NULL))
    connection.start
    @connections << connection
    connection
  end

  # Cuts the connection without closing it.
  def drop(connection)
    @connections.delete(connection)
    connection.transport.socket.shutdown
  end

  def queue(suffix = 'q')
    @queues << "#{@base}.#{suffix}"
    @queues.last
  end

  def exchange(suffix = 'x')
    @exchanges << "#{@base}.#{suffix}"
    @exchanges.last
  end

  # A confirm channel and a durable queue that holds `count` persistent messages.
  def filled(count)
    connection = connect
    channel = connection.create_channel
    channel.confirm_select
    queue = channel.queue(self.queue, durable: true)
    numbered(count).each { |body| queue.publish(body, persistent: true) }
    check_that(channel.wait_for_confirms, 'the messages were not confirmed')
    [connection, channel, queue]
  end

  def cleanup
    @connections.each { |connection| connection.close if connection.open? }
    return if @queues.empty? && @exchanges.empty?

    connection = connect
    channel = connection.create_channel
    @queues.each { |name| channel.queue_delete(name) }
    @exchanges.each { |name| channel.exchange_delete(name) }
    connection.close
  end
end

def numbered(count) = Array.new(count) { |i| "message #{i}" }

def consume(queue)
  inbox = Inbox.new
  consumer = queue.subscribe(manual_ack: true) do |info, properties, body|
    inbox.push(Message.new(info, properties, body))
  end
  [inbox, consumer]
end

def drain(queue)
  found = []
  loop do
    _, _, body = queue.pop
    return found if body.nil?

    found << body
  end
end

# What is ready in the queue, counted after all of the channel's acks were handled.
def left_after_closing(connection, channel, queue)
  channel.close
  connection.create_channel.queue(queue.name, passive: true).message_count
end

# Expects the block to raise such an error.
def raises(error)
  yield
rescue error
  nil
else
  raise Failed, "no #{error} was raised"
end

# Expects the block to be refused with `error`, and the connection to live on.
def refused(connection, error, code)
  caught = nil
  begin
    yield
  rescue Bunny::ChannelLevelException => e
    caught = e
  end
  check_that(caught, "no error where #{code} was due")
  same(caught.class, error, 'error class')
  same(caught.channel_close.reply_code, code, 'reply code')
  connection.create_channel.close
end

CHECKS = {
  connect: lambda do |t|
    connection = t.connect
    connection.create_channel
    product = connection.server_properties['product']
    check_that(product.is_a?(String) && !product.empty?, "product is #{product.inspect}")
    check_that(connection.server_properties['version'].match?(/\A\d+(\.\d+)+/), 'version')
    raises(Bunny::AuthenticationFailureError) do
      t.connect(uri: t.uri.sub(%r{//[^@/]*@}, '//guest:wrong@'))
    end
    raises(Bunny::NotAllowedError) do
      t.connect(uri: "#{t.uri[%r{\A\w+://[^/]*}]}/#{t.base}")
    end
  end,

  declare: lambda do |t|
    channel = t.connect.create_channel
    channel.confirm_select
    name = t.queue
    exchange_name = t.exchange
    queue = channel.queue(name, durable: true)
    same([queue.message_count, queue.consumer_count], [0, 0], 'counts of a new queue')
    exchange = channel.direct(exchange_name, durable: true)
    queue.bind(exchange, routing_key: 'key')
    numbered(3).each { |body| exchange.publish(body, routing_key: 'key') }
    channel.wait_for_confirms
    ok = channel.queue_declare(name, durable: true)
    same([ok.message_count, ok.consumer_count], [3, 0], 'counts with messages')
    channel.exchange_declare(exchange_name, 'direct', durable: true)
    channel.exchange_declare(exchange_name, 'direct', passive: true)
    inbox, = consume(queue)
    inbox.take(3)
    ok = channel.queue_declare(name, durable: true)
    same([ok.message_count, ok.consumer_count], [0, 1], 'counts with a consumer')
    other = channel.queue(t.queue('other'), durable: true)
    numbered(2).each { |body| other.publish(body) }
    channel.wait_for_confirms
    same(channel.queue_purge(other.name).message_count, 2, 'purged')
    other.publish('last')
    channel.wait_for_confirms
    same(channel.queue_delete(other.name).message_count, 1, 'deleted')
  end,

  confirm: lambda do |t|
    _, channel, queue = t.filled(100)
    check_that(channel.nacked_set.empty?, 'messages were nacked')
    check_that(channel.unconfirmed_set.empty?, 'messages stayed unconfirmed')
    same(queue.message_count, 100, 'messages')
  end,

  consume: lambda do |t|
    channel = t.connect.create_channel
    queue = channel.queue(t.queue, durable: true)
    inbox, consumer = consume(queue)
    numbered(20).each_with_index do |body, i|
      queue.publish(body, content_type: 'text/x-check', content_encoding: 'identity',
                          persistent: true, priority: 3, correlation_id: "c#{i}",
                          reply_to: 'somewhere', message_id: "m#{i}", type: 'check',
                          app_id: 'interop', timestamp: 1_700_000_000 + i,
                          headers: { 'number' => i, 'name' => "n#{i}", 'yes' => true,
                                     'nested' => { 'list' => [1, 'two'] } })
    end
    messages = inbox.take(20)
    same(messages.map(&:body), numbered(20), 'bodies')
    messages.each_with_index do |message, i|
      p = message.properties
      same(message.redelivered, false, 'redelivered')
      same(message.info.routing_key, queue.name, 'routing key')
      same([p.content_type, p.content_encoding, p.delivery_mode, p.priority],
           ['text/x-check', 'identity', 2, 3], 'properties')
      same([p.correlation_id, p.reply_to, p.message_id, p.type, p.app_id],
           ["c#{i}", 'somewhere', "m#{i}", 'check', 'interop'], 'properties')
      same(p.timestamp.to_i, 1_700_000_000 + i, 'timestamp')
      same(p.headers, { 'number' => i, 'name' => "n#{i}", 'yes' => true,
                        'nested' => { 'list' => [1, 'two'] } }, 'headers')
    end
    channel.ack(messages.last.tag, true)
    consumer.cancel
    inbox.silence(0.05)
  end,

  ack_each: lambda do |t|
    connection, channel, queue = t.filled(5)
    inbox, = consume(queue)
    inbox.take(5).each { |message| channel.ack(message.tag) }
    same(left_after_closing(connection, channel, queue), 0, 'messages left')
  end,

  ack_multiple: lambda do |t|
    connection, channel, queue = t.filled(10)
    inbox, = consume(queue)
    channel.ack(inbox.take(10)[6].tag, true)
    same(left_after_closing(connection, channel, queue), 3, 'messages left')
    rest = connection.create_channel.queue(queue.name, passive: true)
    same(drain(rest), numbered(10).drop(7), 'the rest')
  end,

  nack_requeue: lambda do |t|
    connection, channel, queue = t.filled(1)
    inbox, = consume(queue)
    first = inbox.next
    same(first.redelivered, false, 'redelivered at first')
    channel.nack(first.tag, false, true)
    again = inbox.next
    same([again.redelivered, again.body], [true, 'message 0'], 'after the nack')
    channel.nack(again.tag, false, false)
    same(left_after_closing(connection, channel, queue), 0, 'messages left')

    ordered = connection.create_channel
    ordered.confirm_select
    queue = ordered.queue(queue.name, passive: true)
    numbered(4).each { |body| queue.publish(body) }
    ordered.wait_for_confirms
    taken = Array.new(2) { queue.pop(manual_ack: true).first }
    taken.each { |info| ordered.nack(info.delivery_tag, false, true) }
    same(drain(queue), numbered(4), 'order after nacks')
  end,

  redelivered: lambda do |t|
    _, channel, queue = t.filled(1)
    other = t.connect(errors: Ignored.new)
    lost, = consume(other.create_channel.queue(queue.name, passive: true))
    same(lost.next.redelivered, false, 'redelivered at first')
    inbox, = consume(queue)
    t.drop(other)
    message = inbox.next
    same([message.redelivered, message.body], [true, 'message 0'], 'after the loss')
    channel.ack(message.tag)
  end,

  fanout: lambda do |t|
    channel = t.connect.create_channel
    channel.confirm_select
    exchange = channel.fanout(t.exchange, durable: true)
    queues = %w[a b].map { |name| channel.queue(t.queue(name), durable: true).bind(exchange) }
    exchange.publish('to all', routing_key: 'ignored')
    channel.wait_for_confirms
    queues.each { |queue| same(drain(queue), ['to all'], queue.name) }
  end,

  topic: lambda do |t|
    channel = t.connect.create_channel
    channel.confirm_select
    exchange = channel.topic(t.exchange, durable: true)
    star = channel.queue(t.queue('star'), durable: true).bind(exchange, routing_key: 'a.*')
    hash = channel.queue(t.queue('hash'), durable: true).bind(exchange, routing_key: 'a.#')
    %w[a a.b a.b.c x.b].each { |key| exchange.publish(key, routing_key: key) }
    channel.wait_for_confirms
    same(drain(star), ['a.b'], 'a.*')
    same(drain(hash), %w[a a.b a.b.c], 'a.#')
  end,

  headers: lambda do |t|
    channel = t.connect.create_channel
    channel.confirm_select
    exchange = channel.headers(t.exchange, durable: true)
    match = { 'format' => 'pdf', 'pages' => 3 }
    all, any = %w[all any].map do |kind|
      channel.queue(t.queue(kind), durable: true)
             .bind(exchange, arguments: match.merge('x-match' => kind))
    end
    exchange.publish('both', headers: match.merge('other' => 'x'))
    exchange.publish('one', headers: match.merge('pages' => 4))
    exchange.publish('none', headers: { 'format' => 'zip' })
    channel.wait_for_confirms
    same(drain(all), ['both'], 'x-match all')
    same(drain(any), %w[both one], 'x-match any')
  end,

  get: lambda do |t|
    _, channel, queue = t.filled(2)
    info, _, body = queue.pop(manual_ack: true)
    same([body, queue.message_count, info.redelivered?], ['message 0', 1, false], 'first')
    info, _, body = queue.pop(manual_ack: true)
    same([body, queue.message_count], ['message 1', 0], 'second')
    channel.ack(info.delivery_tag, true)
    same(queue.pop, [nil, nil, nil], 'get of an empty queue')
  end,

  mandatory: lambda do |t|
    channel = t.connect.create_channel
    inbox = Inbox.new
    exchange = channel.default_exchange
    exchange.on_return { |info, properties, body| inbox.push(Message.new(info, properties, body)) }
    exchange.publish('nowhere', routing_key: t.queue('missing'), mandatory: true)
    returned = inbox.next
    same([returned.info.reply_code, returned.info.reply_text, returned.body],
         [312, 'NO_ROUTE', 'nowhere'], 'returned')
  end,

  prefetch: lambda do |t|
    _, channel, queue = t.filled(10)
    channel.prefetch(3)
    inbox, = consume(queue)
    messages = inbox.take(3)
    inbox.silence
    channel.ack(messages.last.tag, true)
    messages.concat(inbox.take(3))
    inbox.silence
    same(messages.map(&:body), numbered(6), 'bodies')
  end,

  body_10mib: lambda do |t|
    channel = t.connect.create_channel
    queue = channel.queue(t.queue, durable: true)
    body = Random.new(1).bytes(10 * 1024 * 1024)
    queue.publish(body)
    inbox, = consume(queue)
    message = inbox.next(10)
    channel.ack(message.tag)
    same(message.body.bytesize, body.bytesize, 'size')
    check_that(message.body.b == body, 'the body came back changed')
    queue.publish('')
    same(inbox.next.body, '', 'empty body')
  end,

  error_404: lambda do |t|
    connection = t.connect
    refused(connection, Bunny::NotFound, 404) do
      connection.create_channel.queue(t.queue('missing'), passive: true)
    end
    refused(connection, Bunny::NotFound, 404) do
      connection.create_channel.exchange_declare(t.exchange, 'direct', passive: true)
    end
  end,

  error_405: lambda do |t|
    name = t.queue
    t.connect.create_channel.queue(name, exclusive: true)
    connection = t.connect
    refused(connection, Bunny::ResourceLocked, 405) do
      connection.create_channel.queue(name, passive: true)
    end
  end,

  error_406: lambda do |t|
    connection = t.connect
    channel = connection.create_channel
    name = t.queue
    channel.queue(name, durable: true)
    refused(connection, Bunny::PreconditionFailed, 406) do
      channel.queue_declare(name, durable: false)
    end
    # An ack has no answer, so its error comes by a callback.
    errors = Inbox.new
    other = connection.create_channel
    other.on_error { |_, close| errors.push(close.reply_code) }
    other.basic_ack(99)
    same(errors.next, 406, 'reply code after an ack of an unknown tag')
  end,

  heartbeat: lambda do |t|
    connection = t.connect(heartbeat: 1)
    same(connection.heartbeat, 1, 'negotiated heartbeat')
    sleep 4.5
    check_that(connection.open?, 'the connection was lost')
    same(connection.create_channel.queue(t.queue, exclusive: true).message_count, 0, 'messages')
  end,

  close: lambda do |t|
    connection = t.connect
    connection.create_channel.close
    name = t.queue
    connection.create_channel.queue(name, exclusive: true)
    connection.close
    check_that(connection.closed?, 'the connection is not closed')
    again = t.connect
    refused(again, Bunny::NotFound, 404) { again.create_channel.queue(name, passive: true) }
  end
}.freeze

def one_line(error) = "#{error.class}: #{error.message}".gsub(/\s+/, ' ')[0, 300]

options = {}
OptionParser.new do |parser|
  parser.on('--uri URI') { |value| options[:uri] = value }
  parser.on('--prefix PREFIX') { |value| options[:prefix] = value }
end.parse!
abort 'usage: --uri amqp://user:password@host:port/vhost --prefix NAME' unless options.size == 2

DEADLINE = Process.clock_gettime(Process::CLOCK_MONOTONIC) + RUN_S

# Runs the block, which has at most so many seconds, and less near the end of the run.
def limited(seconds, &block)
  left = [seconds, DEADLINE - Process.clock_gettime(Process::CLOCK_MONOTONIC)].min
  raise Failed, 'the run took too long' if left <= 0

  Timeout.timeout(left, Failed, 'it did not end', &block)
end

failures = 0
CHECKS.each do |name, check|
  context = Context.new(options[:uri], options[:prefix], name)
  begin
    limited(CHECK_S) { check.call(context) }
    puts "CHECK #{name} ok"
  rescue StandardError => e
    failures += 1
    puts "CHECK #{name} FAIL #{one_line(e)}"
  end
  begin
    limited(CLEANUP_S) { context.cleanup }
  rescue StandardError => e
    warn "cleanup of #{name}: #{one_line(e)}"
  end
end
exit!(failures.zero? ? 0 : 1)
