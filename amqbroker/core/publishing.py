"""basic.publish and confirm.select: from a whole message to its queues.

The hot path is `publish` with the route of the last publish: no decoding, no lookup. What a message
may carry that needs a rule (expiration, user-id, reply-to, CC and BCC) is seen by its property
flags.

The order of the checks is RabbitMQ's: immediate, size, permission, exchange, internal, reply-to,
expiration, CC and BCC, user-id; but the topic permission of the routing key, which RabbitMQ checks
before user-id, is checked with the route, so that it costs nothing while the route stays.

Source: `rabbit_channel` (`basic.publish`), `rabbit_basic`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from mypy_extensions import i64
from pamqp.base import Frame

from amqbroker.core import access
from amqbroker.core.arguments import TIME_MS_MAX
from amqbroker.core.confirms import Confirms
from amqbroker.core.dead_letters import BCC_FIELD, CC_FIELD, is_marked, shown, unmarked
from amqbroker.core.held import HeldPublish
from amqbroker.core.limits import REFUSED
from amqbroker.core.names import exchange_resource
from amqbroker.core.reply_to import REPLY_QUEUE, own_reply_address, reply
from amqbroker.core.tracing import trace_publish
from amqbroker.errors import NO_ROUTE, access_refused, not_implemented, precondition_failed
from amqbroker.exchanges.base import Table
from amqbroker.exchanges.terms import field_type
from amqbroker.message import IMMEDIATE, MANDATORY, Message
from amqbroker.wire import methods as m
from amqbroker.wire import properties
from amqbroker.wire.writer import write_return

if TYPE_CHECKING:
    from amqbroker.core.channel import Channel
    from amqbroker.core.queue import Queue
    from amqbroker.core.vhost import Route

# Properties that some rule looks at.
RULED: Final = properties.HEADERS | properties.REPLY_TO | properties.EXPIRATION | properties.USER_ID
NO_ROUTE_TEXT: Final = b"NO_ROUTE"


def publish(channel: Channel, message: Message) -> None:
    """One message with its whole content."""
    if message.bits & IMMEDIATE != 0:
        raise not_implemented("immediate=true")
    size = properties.body_size_of(message.header)
    if size > channel.client.message_size_max:
        raise precondition_failed(
            f"message size {size} is larger than configured max size "
            f"{channel.client.message_size_max}"
        )
    route = channel.last_route
    if (
        route is None
        or channel.last_version != channel.vhost.version
        or message.address != channel.last_address
    ):
        route = _find_route(channel, message.address)
    queues = route.queues
    flags = properties.flags_of(message.header)
    if flags & RULED != 0 or route.by_headers or route.is_reply:
        queues = _apply_rules(channel, message, route, flags)
    # One address object for all messages of a route, not one a message.
    message.address = route.address
    if channel.transaction is not None:
        channel.transaction.publishes.append(HeldPublish(message, queues))
    else:
        channel.confirm(deliver(channel, message, queues))


def deliver(channel: Channel, message: Message, queues: list[Queue]) -> i64:
    """Enqueue a routed message, or return it; the journal position to wait for, 0 for none, or
    REFUSED if a queue had no room for it."""
    position: i64 = 0
    refused = False
    for queue in queues:
        if queue.deleted:
            continue
        needed = queue.enqueue(message)
        if needed > position:
            position = needed
        elif needed == REFUSED:
            refused = True
    if not queues and message.bits & MANDATORY != 0:
        client = channel.client
        write_return(
            client.output, channel.number, NO_ROUTE, NO_ROUTE_TEXT, message, client.payload_size_max
        )
        client.mark_output()
    return REFUSED if refused else position


def _find_route(channel: Channel, address: bytes) -> Route:
    """The route of an address that this channel may publish to, remembered for the next message."""
    end: i64 = 1 + i64(address[0])
    name = address[1:end].decode("utf-8", "surrogateescape")
    access.check(channel.client, access.WRITE, access.EXCHANGE, name)
    route = channel.vhost.route(address)
    if route.exchange.internal:
        resource = exchange_resource(route.exchange.name, channel.vhost.name)
        raise access_refused(f"cannot publish to internal {resource}")
    access.check_topic(channel.client, access.WRITE, route.exchange, route.routing_key)
    channel.last_address = route.address
    channel.last_route = route
    channel.last_version = channel.vhost.version
    return route


def _apply_rules(channel: Channel, message: Message, route: Route, flags: i64) -> list[Queue]:
    """Check and rewrite what the properties ask for; where the message goes."""
    if flags & properties.REPLY_TO != 0:
        reply_to = properties.property_text(message.header, properties.REPLY_TO)
        if reply_to == REPLY_QUEUE:
            message.header = properties.with_reply_to(message.header, own_reply_address(channel))
    if flags & properties.EXPIRATION != 0:
        check_expiration(properties.property_text(message.header, properties.EXPIRATION) or "")
    queues = route.queues
    keys = [route.routing_key]
    if route.by_headers or (flags & properties.HEADERS != 0 and has_copies(message.header)):
        queues = _route_by_headers(channel, message, route, keys)
    if flags & properties.HEADERS != 0 and is_marked(message.header):
        message.header = unmarked(message.header)
    if flags & properties.USER_ID != 0:
        _check_user_id(channel, properties.property_text(message.header, properties.USER_ID) or "")
    expect_expiry(message, queues)
    if channel.vhost.traced:
        trace_publish(channel, message, queues)
    if route.is_reply or len(keys) > 1:
        reply(channel, route.exchange.name, keys, message)
    return queues


def expect_expiry(message: Message, queues: list[Queue]) -> None:
    """Tell queues that are about to get a message if it may expire."""
    if properties.flags_of(message.header) & properties.EXPIRATION != 0:
        for queue in queues:
            queue.expect_expiry()


def has_copies(header: bytes) -> bool:
    """Whether the headers may have CC or BCC; a false alarm costs time only."""
    return CC_FIELD in header or BCC_FIELD in header


def _route_by_headers(
    channel: Channel, message: Message, route: Route, keys: list[str]
) -> list[Queue]:
    """Route one message by its own headers and all its routing keys, which are added to `keys`.
    Only queues keep BCC."""
    headers: Table = dict(properties.headers_of(message.header) or {})
    keys.extend(copies(headers, "CC"))
    keys.extend(copies(headers, "BCC"))
    for key in keys[1:]:
        access.check_topic(channel.client, access.WRITE, route.exchange, key)
    header = shown(message.header)
    queues = list(channel.vhost.walk(route.exchange, keys, headers, header).queues.values())
    if "BCC" in headers:
        if not queues:
            message.header = header
        for queue in queues:
            queue.hide_copies()
    return queues


def copies(headers: Table, name: str) -> list[str]:
    """The routing keys in a CC or BCC header.

    Raises 406 unless it is an array; elements of other types are ignored.
    """
    if name not in headers:
        return []
    value = headers[name]
    if not isinstance(value, list):
        kind = field_type(value)
        raise precondition_failed(
            f'invalid message: {{unacceptable_type_in_header,"{name}",{kind}}}'
        )
    return [element for element in value if isinstance(element, str)]


def check_expiration(text: str) -> None:
    """Raise 406 unless this is a whole number of milliseconds from 0 to ten years."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    length = 0
    while length < len(digits) and digits[length] in "0123456789":
        length += 1
    sign = len(text) - len(digits)
    reason = ""
    if length == 0:
        reason = "no_integer"
    elif length < len(digits):
        reason = f'{{leftover_string,"{digits[length:]}"}}'
    else:
        # No more digits than a short string has: int() is bounded.
        value = int(text[: sign + length])
        if value < 0:
            reason = f"{{value_negative,{value}}}"
        elif value > TIME_MS_MAX:
            reason = f"{{value_too_large,{value}}}"
    if reason:
        raise precondition_failed(f"invalid expiration '{text}': {reason}")


def _check_user_id(channel: Channel, user_id: str) -> None:
    """Raise 406 unless the message names its own publisher."""
    user = channel.client.user
    if user_id != user.name and "impersonator" not in user.tags:
        raise precondition_failed(
            f"user_id property set to '{user_id}' but authenticated user was '{user.name}'"
        )


def confirm_select(channel: Channel, frame: Frame) -> None:
    """confirm.select."""
    if channel.transaction is not None:
        raise precondition_failed("cannot switch from tx to confirm mode")
    if channel.confirms is None:
        channel.confirms = Confirms()
    if not cast("m.ConfirmSelect", frame).nowait:
        channel.send(m.ConfirmSelectOk())
