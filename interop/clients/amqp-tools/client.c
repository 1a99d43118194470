/*
 * Runs the interop checklist with librabbitmq (rabbitmq-c), the C client, and its command line
 * tools.
 *
 * Every check runs in a child process: it ends by returning, or by fail(), which sends the reason
 * through a pipe and leaves. The parent kills a check after CHECK_S seconds and then deletes the
 * queues and exchanges of that check, whose names are the prefix, the check and one of the suffixes
 * below. The whole run takes at most RUN_S seconds.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#define CHECK_S 12
#define RUN_S 50
#define CLEANUP_S 4
#define FRAME_MAX 131072
#define MOST_MESSAGES 100 /* published by one check */
#define BIG (10 * 1024 * 1024)

typedef amqp_connection_state_t connection;

static const char *uri;
static char base[256];      /* prefix.check */
static int report_fd = -1;  /* where a check's child writes why it failed */
static const struct timeval answer_time = {5, 0};

static const char *const suffixes[] = {"q", "a", "b", "x"};

static void fail(const char *format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (write(report_fd, text, strlen(text)) < 0) perror("write");
  _exit(1);
}

static void expect(bool condition, const char *what) {
  if (!condition) fail("%s", what);
}

static void expect_number(long long actual, long long expected, const char *what) {
  if (actual != expected) fail("%s: expected %lld, got %lld", what, expected, actual);
}

static amqp_bytes_t bytes(const char *text) { return amqp_cstring_bytes(text); }

static void expect_bytes(amqp_bytes_t actual, const char *expected, const char *what) {
  if (actual.len != strlen(expected) || memcmp(actual.bytes, expected, actual.len) != 0)
    fail("%s: expected %s, got %.*s", what, expected, (int)actual.len, (char *)actual.bytes);
}

/* The name of a queue or exchange of this check; its suffix must be one of `suffixes`. */
static const char *name(const char *suffix) {
  static char names[8][300];
  static int next;
  char *made = names[next++ % 8];
  snprintf(made, sizeof names[0], "%s.%s", base, suffix);
  return made;
}

static const char *numbered(int i) {
  static char text[32];
  snprintf(text, sizeof text, "message %d", i);
  return text;
}

/* --- connections and channels --- */

/* The reply code of a channel or connection error, 0 if there was none, -1 for a local error. */
static int reply_code(amqp_rpc_reply_t reply) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return 0;
  if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) return -1;
  if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
    return ((amqp_channel_close_t *)reply.reply.decoded)->reply_code;
  return ((amqp_connection_close_t *)reply.reply.decoded)->reply_code;
}

static void must(amqp_rpc_reply_t reply, const char *what) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
    fail("%s: %s", what, amqp_error_string2(reply.library_error));
  fail("%s: refused with %d", what, reply_code(reply));
}

static void must_answer(connection c, const char *what) { must(amqp_get_rpc_reply(c), what); }

static void must_send(int status, const char *what) {
  if (status != AMQP_STATUS_OK) fail("%s: %s", what, amqp_error_string2(status));
}

/* Opens a socket and tries to log in; the password and the virtual host of the uri unless given. */
static amqp_rpc_reply_t try_login(connection c, int heartbeat, const char *password,
                                  const char *vhost) {
  static char parsed[512];
  struct amqp_connection_info info;
  snprintf(parsed, sizeof parsed, "%s", uri);
  must_send(amqp_parse_url(parsed, &info), "parse the uri");
  amqp_socket_t *socket = amqp_tcp_socket_new(c);
  must_send(amqp_socket_open_noblock(socket, info.host, info.port, &answer_time), "connect");
  must_send(amqp_set_handshake_timeout(c, &answer_time), "set a timeout");
  must_send(amqp_set_rpc_timeout(c, &answer_time), "set a timeout");
  return amqp_login(c, vhost ? vhost : info.vhost, 0, FRAME_MAX, heartbeat, AMQP_SASL_METHOD_PLAIN,
                    info.user, password ? password : info.password);
}

static connection connect_with(int heartbeat) {
  connection c = amqp_new_connection();
  must(try_login(c, heartbeat, NULL, NULL), "log in");
  return c;
}

static void open_channel(connection c, amqp_channel_t channel) {
  amqp_channel_open(c, channel);
  must_answer(c, "open a channel");
}

static connection connect_and_open(void) {
  connection c = connect_with(0);
  open_channel(c, 1);
  return c;
}

static void close_channel(connection c, amqp_channel_t channel) {
  must(amqp_channel_close(c, channel, AMQP_REPLY_SUCCESS), "close a channel");
}

static void disconnect(connection c) {
  must(amqp_connection_close(c, AMQP_REPLY_SUCCESS), "close the connection");
  amqp_destroy_connection(c);
}

static connection confirming(void) {
  connection c = connect_and_open();
  amqp_confirm_select(c, 1);
  must_answer(c, "confirm.select");
  return c;
}

/* --- queues, exchanges and messages --- */

static amqp_queue_declare_ok_t *declare(connection c, const char *queue) {
  amqp_queue_declare_ok_t *ok =
      amqp_queue_declare(c, 1, bytes(queue), false, true, false, false, amqp_empty_table);
  must_answer(c, "declare a queue");
  return ok;
}

static void expect_counts(connection c, const char *queue, unsigned messages, unsigned consumers) {
  amqp_queue_declare_ok_t *ok = declare(c, queue);
  expect_bytes(ok->queue, queue, "queue name");
  expect_number(ok->message_count, messages, "messages");
  expect_number(ok->consumer_count, consumers, "consumers");
}

static void declare_exchange(connection c, const char *exchange, const char *type, bool passive) {
  amqp_exchange_declare(c, 1, bytes(exchange), bytes(type), passive, true, false, false,
                        amqp_empty_table);
  must_answer(c, "declare an exchange");
}

static void bind_with(connection c, const char *queue, const char *exchange, const char *key,
                      amqp_table_t arguments) {
  amqp_queue_bind(c, 1, bytes(queue), bytes(exchange), bytes(key), arguments);
  must_answer(c, "bind");
}

static void bind(connection c, const char *queue, const char *exchange, const char *key) {
  bind_with(c, queue, exchange, key, amqp_empty_table);
}

static void publish(connection c, const char *exchange, const char *key, const char *body,
                    const amqp_basic_properties_t *properties, bool mandatory) {
  must_send(amqp_basic_publish(c, 1, bytes(exchange), bytes(key), mandatory, false, properties,
                               bytes(body)),
            "publish");
}

/* Waits for the acks of messages 1 to `last`, in any order; counts what was returned before. */
static int await_confirms(connection c, uint64_t last) {
  bool acked[MOST_MESSAGES + 1] = {false};
  uint64_t settled = 0;
  int returned = 0;
  while (settled < last) {
    amqp_frame_t frame;
    must_send(amqp_simple_wait_frame_noblock(c, &frame, &answer_time), "wait for a confirm");
    expect_number(frame.frame_type, AMQP_FRAME_METHOD, "frame type");
    if (frame.payload.method.id == AMQP_BASIC_RETURN_METHOD) {
      amqp_basic_return_t *method = frame.payload.method.decoded;
      amqp_message_t message;
      expect_number(method->reply_code, 312, "reply code");
      expect_bytes(method->reply_text, "NO_ROUTE", "reply text");
      must(amqp_read_message(c, 1, &message, 0), "read a returned message");
      expect_bytes(message.body, "nowhere", "returned body");
      returned++;
      continue;
    }
    expect(frame.payload.method.id == AMQP_BASIC_ACK_METHOD, "something else than an ack arrived");
    amqp_basic_ack_t *ack = frame.payload.method.decoded;
    expect(ack->delivery_tag >= 1 && ack->delivery_tag <= last, "an ack of another message");
    for (uint64_t tag = ack->multiple ? 1 : ack->delivery_tag; tag <= ack->delivery_tag; tag++) {
      settled += !acked[tag];
      acked[tag] = true;
    }
  }
  return returned;
}

static const amqp_basic_properties_t persistent = {
    ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = AMQP_DELIVERY_PERSISTENT};

/* A connection with a confirm channel, and a durable queue "q" with persistent messages. */
static connection filled(int count) {
  connection c = confirming();
  declare(c, name("q"));
  for (int i = 0; i < count; i++) publish(c, "", name("q"), numbered(i), &persistent, false);
  await_confirms(c, count);
  return c;
}

static void consume(connection c, const char *queue) {
  amqp_basic_consume(c, 1, bytes(queue), amqp_empty_bytes, false, false, false, amqp_empty_table);
  must_answer(c, "consume");
}

static amqp_envelope_t next_delivery(connection c) {
  amqp_envelope_t envelope;
  must(amqp_consume_message(c, &envelope, &answer_time, 0), "wait for a delivery");
  return envelope;
}

static void expect_silence(connection c, int milliseconds) {
  amqp_envelope_t envelope;
  struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
  amqp_rpc_reply_t reply = amqp_consume_message(c, &envelope, &time, 0);
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) fail("an unexpected delivery");
  if (reply.reply_type != AMQP_RESPONSE_LIBRARY_EXCEPTION ||
      reply.library_error != AMQP_STATUS_TIMEOUT)
    must(reply, "stay idle");
}

static void ack(connection c, uint64_t tag, bool multiple) {
  must_send(amqp_basic_ack(c, 1, tag, multiple), "ack");
}

/* Gets one message without ack; false if the queue is empty. */
static bool get(connection c, const char *queue, amqp_message_t *message) {
  amqp_rpc_reply_t reply = amqp_basic_get(c, 1, bytes(queue), true);
  must(reply, "get");
  if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) return false;
  must(amqp_read_message(c, 1, message, 0), "read a message");
  return true;
}

/* Gets a message that is there and returns its tag. */
static uint64_t get_unacked(connection c, const char *queue) {
  amqp_message_t message;
  amqp_rpc_reply_t reply = amqp_basic_get(c, 1, bytes(queue), false);
  must(reply, "get");
  expect(reply.reply.id == AMQP_BASIC_GET_OK_METHOD, "the queue is empty");
  uint64_t tag = ((amqp_basic_get_ok_t *)reply.reply.decoded)->delivery_tag;
  must(amqp_read_message(c, 1, &message, 0), "read a message");
  return tag;
}

/* Expects exactly these bodies, separated by spaces, in the queue. */
static void expect_content(connection c, const char *queue, const char *expected) {
  char found[300] = "";
  amqp_message_t message;
  while (get(c, queue, &message)) {
    size_t used = strlen(found);
    snprintf(found + used, sizeof found - used, "%s%.*s", used ? " " : "", (int)message.body.len,
             (char *)message.body.bytes);
  }
  if (strcmp(found, expected) != 0) fail("%s: expected %s, got %s", queue, expected, found);
}

/* Expects `count` ready messages after all acks of channel 1 were handled. */
static void expect_left(connection c, const char *queue, unsigned count) {
  close_channel(c, 1);
  open_channel(c, 1);
  expect_number(declare(c, queue)->message_count, count, "messages left");
}

/* Expects that the call just made was refused, and that the connection lives on. */
static void expect_refused(connection c, int code) {
  amqp_channel_close_ok_t ok = {0};
  amqp_rpc_reply_t reply = amqp_get_rpc_reply(c);
  expect_number(reply_code(reply), code, "reply code");
  expect(reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD, "it was not a channel error");
  must_send(amqp_send_method(c, 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok), "answer close");
  open_channel(c, 2);
  close_channel(c, 2);
}

static amqp_table_entry_t text_entry(const char *key, const char *value) {
  amqp_table_entry_t entry = {.key = bytes(key)};
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = bytes(value);
  return entry;
}

static amqp_table_entry_t number_entry(const char *key, int value) {
  amqp_table_entry_t entry = {.key = bytes(key)};
  entry.value.kind = AMQP_FIELD_KIND_I32;
  entry.value.value.i32 = value;
  return entry;
}

static const amqp_field_value_t *find(const amqp_table_t *table, const char *key, int kind) {
  for (int i = 0; i < table->num_entries; i++) {
    const amqp_table_entry_t *entry = &table->entries[i];
    if (entry->key.len == strlen(key) && memcmp(entry->key.bytes, key, entry->key.len) == 0) {
      expect_number(entry->value.kind, kind, key);
      return &entry->value;
    }
  }
  fail("no field %s", key);
  return NULL;
}

/* --- the command line tools --- */

/* Runs a tool on the broker and returns its output; its exit status must be `status`. */
static const char *tool(int status, const char *tool_name, const char *format, ...) {
  static char output[300];
  char arguments[600], command[1400];
  va_list list;
  va_start(list, format);
  vsnprintf(arguments, sizeof arguments, format, list);
  va_end(list);
  snprintf(command, sizeof command, "%s -u '%s' %s 2>&1", tool_name, uri, arguments);
  FILE *pipe = popen(command, "r");
  expect(pipe != NULL, "popen");
  size_t length = fread(output, 1, sizeof output - 1, pipe);
  output[length] = 0;
  int ended = pclose(pipe);
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != status)
    fail("%s %s ended with status %d: %s", tool_name, arguments, ended, output);
  return output;
}

static void expect_text(const char *actual, const char *expected, const char *what) {
  if (strcmp(actual, expected) != 0) fail("%s: expected %s, got %s", what, expected, actual);
}

/* --- the checks --- */

static void check_connect(void) {
  connection c = connect_and_open();
  const amqp_table_t *properties = amqp_get_server_properties(c);
  expect(find(properties, "product", AMQP_FIELD_KIND_UTF8)->value.bytes.len > 0, "empty product");
  expect(find(properties, "version", AMQP_FIELD_KIND_UTF8)->value.bytes.len > 0, "empty version");
  const amqp_table_t *can = &find(properties, "capabilities", AMQP_FIELD_KIND_TABLE)->value.table;
  expect(find(can, "publisher_confirms", AMQP_FIELD_KIND_BOOLEAN)->value.boolean, "no confirms");
  disconnect(c);
  c = amqp_new_connection();
  expect_number(reply_code(try_login(c, 0, "wrong", NULL)), 403, "code for a wrong password");
  amqp_destroy_connection(c);
  c = amqp_new_connection();
  expect_number(reply_code(try_login(c, 0, NULL, base)), 530, "code for an unknown virtual host");
  amqp_destroy_connection(c);
}

static void check_declare(void) {
  connection c = confirming();
  const char *queue = name("q"), *exchange = name("x");
  expect_counts(c, queue, 0, 0);
  declare_exchange(c, exchange, "direct", false);
  bind(c, queue, exchange, "key");
  for (int i = 0; i < 3; i++) publish(c, exchange, "key", numbered(i), NULL, false);
  await_confirms(c, 3);
  expect_counts(c, queue, 3, 0);
  declare_exchange(c, exchange, "direct", false);
  declare_exchange(c, exchange, "direct", true);
  consume(c, queue);
  for (int i = 0; i < 3; i++) next_delivery(c);
  expect_counts(c, queue, 0, 1);
  declare(c, name("b"));
  for (int i = 0; i < 2; i++) publish(c, "", name("b"), numbered(i), NULL, false);
  expect_number(amqp_queue_purge(c, 1, bytes(name("b")))->message_count, 2, "purged");
  publish(c, "", name("b"), "last", NULL, false);
  amqp_queue_delete_ok_t *deleted = amqp_queue_delete(c, 1, bytes(name("b")), false, false);
  expect_number(deleted->message_count, 1, "deleted");
  disconnect(c);
  char expected[300];
  snprintf(expected, sizeof expected, "%s\n", name("a"));
  expect_text(tool(0, "amqp-declare-queue", "-d -q '%s'", name("a")), expected, "tool declares");
  expect_text(tool(0, "amqp-delete-queue", "-q '%s'", name("a")), "0\n", "tool deletes");
}

static void check_confirm(void) {
  connection c = filled(100);
  expect_counts(c, name("q"), 100, 0);
  disconnect(c);
}

static void expect_properties(const amqp_basic_properties_t *p, int i) {
  char id[16];
  snprintf(id, sizeof id, "m%d", i);
  expect_bytes(p->content_type, "text/x-check", "content type");
  expect_bytes(p->content_encoding, "identity", "content encoding");
  expect_bytes(p->message_id, id, "message id");
  expect_bytes(p->correlation_id, id, "correlation id");
  expect_bytes(p->reply_to, "somewhere", "reply to");
  expect_bytes(p->type, "check", "type");
  expect_bytes(p->app_id, "interop", "application id");
  expect_number(p->delivery_mode, AMQP_DELIVERY_PERSISTENT, "delivery mode");
  expect_number(p->priority, 3, "priority");
  expect_number(p->timestamp, 1700000000 + i, "timestamp");
  expect_number(p->headers.num_entries, 3, "number of headers");
  expect_number(find(&p->headers, "number", AMQP_FIELD_KIND_I32)->value.i32, i, "number");
  expect_bytes(find(&p->headers, "name", AMQP_FIELD_KIND_UTF8)->value.bytes, id, "name");
  const amqp_table_t *nested = &find(&p->headers, "nested", AMQP_FIELD_KIND_TABLE)->value.table;
  expect_number(find(nested, "inner", AMQP_FIELD_KIND_I32)->value.i32, 7, "inner");
}

static void publish_with_properties(connection c, int i) {
  char id[16];
  snprintf(id, sizeof id, "m%d", i);
  amqp_table_entry_t inner = number_entry("inner", 7);
  amqp_table_entry_t headers[3] = {number_entry("number", i), text_entry("name", id)};
  headers[2].key = bytes("nested");
  headers[2].value.kind = AMQP_FIELD_KIND_TABLE;
  headers[2].value.value.table = (amqp_table_t){1, &inner};
  amqp_basic_properties_t properties = {
      ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
                AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                AMQP_BASIC_PRIORITY_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG |
                AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_APP_ID_FLAG,
      .content_type = bytes("text/x-check"),
      .content_encoding = bytes("identity"),
      .headers = {3, headers},
      .delivery_mode = AMQP_DELIVERY_PERSISTENT,
      .priority = 3,
      .correlation_id = bytes(id),
      .reply_to = bytes("somewhere"),
      .message_id = bytes(id),
      .timestamp = 1700000000 + i,
      .type = bytes("check"),
      .app_id = bytes("interop"),
  };
  publish(c, "", name("q"), numbered(i), &properties, false);
}

static void check_consume(void) {
  connection c = connect_and_open();
  amqp_envelope_t delivery;
  declare(c, name("q"));
  consume(c, name("q"));
  for (int i = 0; i < 20; i++) publish_with_properties(c, i);
  for (int i = 0; i < 20; i++) {
    delivery = next_delivery(c);
    expect_bytes(delivery.message.body, numbered(i), "body");
    expect_bytes(delivery.routing_key, name("q"), "routing key");
    expect_number(delivery.redelivered, false, "redelivered");
    expect_properties(&delivery.message.properties, i);
  }
  ack(c, delivery.delivery_tag, true);
  amqp_basic_cancel(c, 1, delivery.consumer_tag);
  must_answer(c, "cancel");
  expect_silence(c, 50);
  disconnect(c);
  const char *queue = name("q");
  tool(0, "amqp-publish", "-r '%s' -p -b first", queue);
  tool(0, "amqp-publish", "-r '%s' -b second", queue);
  expect_text(tool(0, "amqp-consume", "-q '%s' -c 2 cat", queue), "firstsecond", "tool consumes");
}

static void check_ack_each(void) {
  connection c = filled(5);
  consume(c, name("q"));
  for (int i = 0; i < 5; i++) ack(c, next_delivery(c).delivery_tag, false);
  expect_left(c, name("q"), 0);
  disconnect(c);
}

static void check_ack_multiple(void) {
  connection c = filled(10);
  uint64_t seventh = 0;
  consume(c, name("q"));
  for (int i = 0; i < 10; i++) {
    uint64_t tag = next_delivery(c).delivery_tag;
    if (i == 6) seventh = tag;
  }
  ack(c, seventh, true);
  expect_left(c, name("q"), 3);
  expect_content(c, name("q"), "message 7 message 8 message 9");
  disconnect(c);
}

static void nack(connection c, uint64_t tag, bool requeue) {
  must_send(amqp_basic_nack(c, 1, tag, false, requeue), "nack");
}

static void check_nack_requeue(void) {
  connection c = filled(1);
  consume(c, name("q"));
  amqp_envelope_t delivery = next_delivery(c);
  expect_number(delivery.redelivered, false, "redelivered at first");
  nack(c, delivery.delivery_tag, true);
  delivery = next_delivery(c);
  expect_number(delivery.redelivered, true, "redelivered after the nack");
  expect_bytes(delivery.message.body, "message 0", "body");
  nack(c, delivery.delivery_tag, false);
  expect_left(c, name("q"), 0);
  for (int i = 0; i < 4; i++) publish(c, "", name("q"), numbered(i), NULL, false);
  uint64_t one = get_unacked(c, name("q")), two = get_unacked(c, name("q"));
  nack(c, one, true);
  nack(c, two, true);
  expect_content(c, name("q"), "message 0 message 1 message 2 message 3");
  disconnect(c);
}

static void check_redelivered(void) {
  connection c = filled(1), other = connect_and_open();
  consume(other, name("q"));
  expect_number(next_delivery(other).redelivered, false, "redelivered at first");
  consume(c, name("q"));
  close(amqp_get_sockfd(other));
  amqp_envelope_t delivery = next_delivery(c);
  expect_number(delivery.redelivered, true, "redelivered after the loss");
  expect_bytes(delivery.message.body, "message 0", "body");
  ack(c, delivery.delivery_tag, false);
  disconnect(c);
}

static void check_fanout(void) {
  connection c = confirming();
  declare_exchange(c, name("x"), "fanout", false);
  for (int i = 0; i < 2; i++) {
    const char *queue = name(i ? "b" : "a");
    declare(c, queue);
    bind(c, queue, name("x"), "");
  }
  publish(c, name("x"), "ignored", "to-all", NULL, false);
  await_confirms(c, 1);
  expect_content(c, name("a"), "to-all");
  expect_content(c, name("b"), "to-all");
  disconnect(c);
}

static void check_topic(void) {
  static const char *const keys[] = {"a", "a.b", "a.b.c", "x.b"};
  connection c = confirming();
  declare_exchange(c, name("x"), "topic", false);
  declare(c, name("a"));
  declare(c, name("b"));
  bind(c, name("a"), name("x"), "a.*");
  bind(c, name("b"), name("x"), "a.#");
  for (int i = 0; i < 4; i++) publish(c, name("x"), keys[i], keys[i], NULL, false);
  await_confirms(c, 4);
  expect_content(c, name("a"), "a.b");
  expect_content(c, name("b"), "a a.b a.b.c");
  disconnect(c);
}

static void publish_headers(connection c, const char *body, const char *format, int pages) {
  amqp_table_entry_t entries[] = {text_entry("format", format), number_entry("pages", pages),
                                  text_entry("other", "x")};
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG,
                                        .headers = {3, entries}};
  publish(c, name("x"), "", body, &properties, false);
}

static void check_headers(void) {
  connection c = confirming();
  declare_exchange(c, name("x"), "headers", false);
  for (int i = 0; i < 2; i++) {
    amqp_table_entry_t match[] = {text_entry("x-match", i ? "any" : "all"),
                                  text_entry("format", "pdf"), number_entry("pages", 3)};
    const char *queue = name(i ? "b" : "a");
    declare(c, queue);
    bind_with(c, queue, name("x"), "", (amqp_table_t){3, match});
  }
  publish_headers(c, "both", "pdf", 3);
  publish_headers(c, "one", "pdf", 4);
  publish_headers(c, "none", "zip", 5);
  await_confirms(c, 3);
  expect_content(c, name("a"), "both");
  expect_content(c, name("b"), "both one");
  disconnect(c);
}

static void check_get(void) {
  connection c = filled(2);
  const char *queue = name("q");
  for (int i = 0; i < 2; i++) {
    amqp_message_t message;
    amqp_rpc_reply_t reply = amqp_basic_get(c, 1, bytes(queue), false);
    must(reply, "get");
    expect(reply.reply.id == AMQP_BASIC_GET_OK_METHOD, "the queue is empty");
    amqp_basic_get_ok_t *ok = reply.reply.decoded;
    expect_number(ok->message_count, 1 - i, "remaining");
    expect_number(ok->redelivered, false, "redelivered");
    uint64_t tag = ok->delivery_tag;
    must(amqp_read_message(c, 1, &message, 0), "read a message");
    expect_bytes(message.body, numbered(i), "body");
    ack(c, tag, false);
  }
  amqp_message_t message;
  expect(!get(c, queue, &message), "a third message");
  disconnect(c);
  tool(0, "amqp-publish", "-r '%s' -b hello", queue);
  expect_text(tool(0, "amqp-get", "-q '%s'", queue), "hello", "tool gets");
  expect_text(tool(2, "amqp-get", "-q '%s'", queue), "", "tool gets from an empty queue");
}

static void check_mandatory(void) {
  connection c = confirming();
  publish(c, "", name("a"), "nowhere", NULL, true);
  expect_number(await_confirms(c, 1), 1, "returned before the ack");
  disconnect(c);
}

static void check_prefetch(void) {
  connection c = filled(10);
  uint64_t tag = 0;
  amqp_basic_qos(c, 1, 0, 3, false);
  must_answer(c, "qos");
  consume(c, name("q"));
  for (int i = 0; i < 6; i++) {
    amqp_envelope_t delivery = next_delivery(c);
    expect_bytes(delivery.message.body, numbered(i), "body");
    tag = delivery.delivery_tag;
    if (i % 3 < 2) continue;
    expect_silence(c, 300);
    if (i == 2) ack(c, tag, true);
  }
  disconnect(c);
}

static void check_body_10mib(void) {
  connection c = connect_and_open();
  declare(c, name("q"));
  amqp_bytes_t body = amqp_bytes_malloc(BIG);
  uint32_t state = 1;
  for (size_t i = 0; i < BIG; i++) {
    state = state * 1664525u + 1013904223u;
    ((unsigned char *)body.bytes)[i] = state >> 24;
  }
  must_send(amqp_basic_publish(c, 1, amqp_empty_bytes, bytes(name("q")), false, false, NULL, body),
            "publish");
  consume(c, name("q"));
  amqp_envelope_t delivery = next_delivery(c);
  expect_number(delivery.message.body.len, BIG, "size");
  expect(memcmp(delivery.message.body.bytes, body.bytes, BIG) == 0, "the body came back changed");
  ack(c, delivery.delivery_tag, false);
  publish(c, "", name("q"), "", NULL, false);
  expect_number(next_delivery(c).message.body.len, 0, "size of an empty body");
  disconnect(c);
}

static void declare_passive(connection c, const char *queue) {
  amqp_queue_declare(c, 1, bytes(queue), true, false, false, false, amqp_empty_table);
}

static void check_error_404(void) {
  connection c = connect_and_open();
  declare_passive(c, name("a"));
  expect_refused(c, 404);
  open_channel(c, 1);
  amqp_exchange_declare(c, 1, bytes(name("x")), bytes("direct"), true, true, false, false,
                        amqp_empty_table);
  expect_refused(c, 404);
  disconnect(c);
}

static void check_error_405(void) {
  connection owner = connect_and_open(), c = connect_and_open();
  amqp_queue_declare(owner, 1, bytes(name("q")), false, false, true, false, amqp_empty_table);
  must_answer(owner, "declare an exclusive queue");
  declare_passive(c, name("q"));
  expect_refused(c, 405);
  disconnect(c);
  disconnect(owner);
}

static void check_error_406(void) {
  connection c = connect_and_open();
  declare(c, name("q"));
  amqp_queue_declare(c, 1, bytes(name("q")), false, false, false, false, amqp_empty_table);
  expect_refused(c, 406);
  open_channel(c, 1);
  ack(c, 99, false);
  declare_passive(c, name("q"));
  expect_refused(c, 406);
  disconnect(c);
}

/* The library sends heartbeats only while it waits, so the idle time is a wait for a message. */
static void check_heartbeat(void) {
  connection c = connect_with(1);
  expect_number(amqp_get_heartbeat(c), 1, "negotiated heartbeat");
  open_channel(c, 1);
  declare(c, name("q"));
  consume(c, name("q"));
  expect_silence(c, 4500);
  expect_counts(c, name("q"), 0, 1);
  disconnect(c);
}

static void check_close(void) {
  connection c = connect_and_open();
  close_channel(c, 1);
  open_channel(c, 1);
  amqp_queue_declare(c, 1, bytes(name("q")), false, false, true, false, amqp_empty_table);
  must_answer(c, "declare an exclusive queue");
  disconnect(c);
  c = connect_and_open();
  declare_passive(c, name("q"));
  expect_refused(c, 404);
  disconnect(c);
}

static const struct {
  const char *name;
  void (*run)(void);
} checks[] = {
    {"connect", check_connect},
    {"declare", check_declare},
    {"confirm", check_confirm},
    {"consume", check_consume},
    {"ack_each", check_ack_each},
    {"ack_multiple", check_ack_multiple},
    {"nack_requeue", check_nack_requeue},
    {"redelivered", check_redelivered},
    {"fanout", check_fanout},
    {"topic", check_topic},
    {"headers", check_headers},
    {"get", check_get},
    {"mandatory", check_mandatory},
    {"prefetch", check_prefetch},
    {"body_10mib", check_body_10mib},
    {"error_404", check_error_404},
    {"error_405", check_error_405},
    {"error_406", check_error_406},
    {"heartbeat", check_heartbeat},
    {"close", check_close},
};

static void cleanup(void) {
  connection c = connect_and_open();
  for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
    amqp_queue_delete(c, 1, bytes(name(suffixes[i])), false, false);
    must_answer(c, "delete a queue");
    amqp_exchange_delete(c, 1, bytes(name(suffixes[i])), false);
    must_answer(c, "delete an exchange");
  }
  disconnect(c);
}

/* --- the runner --- */

/*
 * Runs the action in a child of its own process group; returns why it failed, "" if it did not.
 * The action has at most `most` seconds, and less near the end of the run.
 */
static const char *limited(int most, time_t end, void (*action)(void)) {
  static char reason[400];
  int ends[2];
  int left = (int)(end - time(NULL));
  int seconds = left < most ? left : most;
  if (seconds <= 0) return "the run took too long";
  if (pipe(ends) < 0) return "pipe failed";
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) return "fork failed";
  if (child == 0) {
    setpgid(0, 0);
    close(ends[0]);
    report_fd = ends[1];
    action();
    _exit(0);
  }
  setpgid(child, child); /* in both processes: whoever comes first */
  close(ends[1]);
  struct pollfd watched = {.fd = ends[0], .events = POLLIN};
  ssize_t length = 0;
  bool late = poll(&watched, 1, seconds * 1000) == 0;
  if (late)
    kill(-child, SIGKILL);
  else
    length = read(ends[0], reason, sizeof reason - 1);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (late) return "it did not end";
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  if (length <= 0) return "the process died";
  reason[length] = 0;
  for (char *at = reason; *at; at++)
    if (*at == '\n' || *at == '\r') *at = ' ';
  return reason;
}

int main(int argc, char **argv) {
  const char *prefix = NULL;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--uri") == 0) uri = argv[i + 1];
    if (strcmp(argv[i], "--prefix") == 0) prefix = argv[i + 1];
  }
  if (!uri || !prefix) {
    fprintf(stderr, "usage: --uri amqp://user:password@host:port/vhost --prefix NAME\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  time_t end = time(NULL) + RUN_S;
  int failures = 0;
  for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
    snprintf(base, sizeof base, "%s.%s", prefix, checks[i].name);
    const char *reason = limited(CHECK_S, end, checks[i].run);
    if (*reason) {
      failures++;
      printf("CHECK %s FAIL %s\n", checks[i].name, reason);
    } else {
      printf("CHECK %s ok\n", checks[i].name);
    }
    reason = limited(CLEANUP_S, end, cleanup);
    if (*reason) fprintf(stderr, "cleanup of %s: %s\n", checks[i].name, reason);
  }
  return failures ? 1 : 0;
}
