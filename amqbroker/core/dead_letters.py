"""What a dead letter looks like: a message that died in one queue, on its way to the next.

Pure functions on the octets of a content header. The body is shared with the message that died, and
every header that no rule names keeps its octets.

The BCC keys of a message are kept in its header, since its dead letters go by them. Nobody may see
them: `shown` takes them off whatever leaves the broker.

`x-death` is an array with a table for each queue and reason, the newest first; a second death of
one kind adds to its count and moves it to the front. It is handled as the octets of its entries:
a message may have died in hundreds of queues, and only the entry of the queue in question is
decoded.

Publishers may send an x-death of their own, most often one that they got with a message. It is not
believed, so that no client can make up a history: what the broker wrote is known by its first
header, MARK, and a publish does not keep that one in the first place (`unmarked`). RabbitMQ 4 keeps
the history beside the message for the same end, RabbitMQ 3.13 believes everybody (`believe`).

Source: RabbitMQ 3.13's `mc:record_death`, `mc:is_death_cycle`, `mc_amqpl` (`death_table`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, final

from librt.strings import read_i32_be
from mypy_extensions import i64

from amqbroker.message import Message
from amqbroker.wire import properties
from amqbroker.wire.tables import (
    ARRAY,
    EPOCH,
    TABLE,
    checked_value_end,
    decode_checked_table,
    encode_table,
    text_or_bytes,
)

if TYPE_CHECKING:
    from pamqp.common import FieldTable

REJECTED_REASON: Final = "rejected"

DEATHS: Final = "x-death"
# The first header of every dead letter.
MARK: Final = "x-last-death-reason"
MARK_OCTETS: Final = bytes([len(MARK)]) + MARK.encode()
FIRST_HEADERS: Final = ("x-first-death-exchange", "x-first-death-queue", "x-first-death-reason")
LAST_HEADERS: Final = ("x-last-death-exchange", "x-last-death-queue", MARK)

SHORT_STRING_MAX: Final = 255
# One death more is what a long integer holds.
COUNT_MAX: Final = (1 << 63) - 2
# CC and BCC as they stand in a headers table: the key with its length.
CC_FIELD: Final = b"\x02CC"
BCC_FIELD: Final = b"\x03BCC"


@final
class Deaths:
    """The history of one message: the octets of each entry of its x-death, newest first."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries

    def record(self, death: FieldTable) -> None:
        """One more death, to the front. Of one that is known already only the count grows."""
        queue = death["queue"]
        octets = queue.encode() if isinstance(queue, str) else queue
        assert isinstance(octets, bytes)
        for place, entry in enumerate(self.entries):
            if octets in entry:
                known = decode_checked_table(entry, 1)
                if known.get("queue") == queue and known.get("reason") == death["reason"]:
                    count = known.get("count")
                    # A publisher who is believed may have put anything there.
                    known["count"] = min(count, COUNT_MAX) + 1 if isinstance(count, int) else 1
                    death = known
                    del self.entries[place]
                    break
        self.entries.insert(0, bytes([TABLE]) + encode_table(death))

    def is_cycle(self, queue_name: str) -> bool:
        """Whether the message died in this queue before, and nobody rejected it since then."""
        queue = as_text(queue_name)
        octets = queue_name.encode("utf-8", "surrogateescape")
        rejected = REJECTED_REASON.encode()
        for entry in self.entries:
            if octets not in entry and rejected not in entry:
                continue
            table = decode_checked_table(entry, 1)
            if table.get("reason") == REJECTED_REASON:
                return False
            if table.get("queue") == queue:
                return True
        return False

    def octets(self) -> bytes:
        """The x-death header, with its key, as an entry of a headers table."""
        entries = b"".join(self.entries)
        key = bytes([len(DEATHS)]) + DEATHS.encode()
        return key + bytes([ARRAY]) + len(entries).to_bytes(4, "big") + entries

    def queues(self) -> list[str]:
        """Where the message died, the newest first."""
        return [str(decode_checked_table(entry, 1).get("queue")) for entry in self.entries]


@final
class Letter:
    """A dead letter: the message to be routed with these keys, and its history. `hides` says that
    there are BCC keys among them."""

    __slots__ = ("deaths", "hides", "keys", "message")

    def __init__(self, message: Message, keys: list[str], deaths: Deaths, hides: bool) -> None:
        self.message = message
        self.keys = keys
        self.deaths = deaths
        self.hides = hides


@final
class Death:
    """How a message died: in `queue`, at `seconds` of the time of day.

    `exchange` is the dead-letter exchange. `key` is the configured routing key; without one the
    message keeps its own keys, CC included. `believe` a publisher's x-death.
    """

    __slots__ = ("believe", "exchange", "key", "queue", "reason", "seconds")

    def __init__(
        self, queue: str, reason: str, seconds: i64, exchange: str, key: str | None, believe: bool
    ) -> None:
        self.queue = queue
        self.reason = reason
        self.seconds: i64 = seconds
        self.exchange = exchange
        self.key = key
        self.believe = believe

    def is_like(self, other: Death) -> bool:
        """Whether nothing of the two is different."""
        return (
            self.seconds == other.seconds
            and self.queue == other.queue
            and self.reason == other.reason
            and self.exchange == other.exchange
            and self.key == other.key
            and self.believe == other.believe
        )


def make_letter(message: Message, how: Death) -> Letter:
    """The dead letter of a message that died like this."""
    reason = how.reason
    header = message.header
    source, own_key = split_address(message.address)
    own_keys = [own_key, *_copies(header, CC_FIELD)]
    hidden = _copies(header, BCC_FIELD)
    death: FieldTable = {}
    expiration = properties.property_text(header, properties.EXPIRATION)
    if expiration is not None:
        death["original-expiration"] = expiration
        header = properties.without_property(header, properties.EXPIRATION)
    name = as_text(how.queue)
    from_exchange = as_text(source)
    death["count"] = 1
    death["reason"] = reason
    death["queue"] = name
    death["time"] = EPOCH + timedelta(seconds=int(how.seconds))
    death["exchange"] = from_exchange
    death["routing-keys"] = [as_text(each) for each in own_keys]
    deaths = Deaths(entries_of(header) if how.believe or is_marked(header) else [])
    written: FieldTable = {
        MARK: reason,
        "x-last-death-queue": name,
        "x-last-death-exchange": from_exchange,
    }
    removed = [DEATHS, *LAST_HEADERS]
    if not deaths.entries:
        written["x-first-death-reason"] = reason
        written["x-first-death-queue"] = name
        written["x-first-death-exchange"] = from_exchange
        removed.extend(FIRST_HEADERS)
    deaths.record(death)
    keys = own_keys + hidden
    if how.key is not None:
        keys = [how.key]
        # The others do not count any more, at the next death neither.
        removed.extend(("CC", "BCC"))
    first = encode_table(written)[4:] + deaths.octets()
    header = properties.with_first_entries(header, first, removed)
    address = _short(how.exchange) + _short(keys[0])
    letter = Message(0, address, 0, header, message.body, message.persistent)
    return Letter(letter, keys, deaths, bool(hidden) and how.key is None)


@final
class LetterMaker:
    """Makes letters of many messages. Those that follow each other mostly say the same, and die in
    the same place in the same second: then only the first of them is taken apart."""

    __slots__ = (
        "_address",
        "_death",
        "_deaths",
        "_header",
        "_hides",
        "_keys",
        "_made_address",
        "_made_header",
    )

    def __init__(self) -> None:
        self._death = Death("", "", 0, "", None, False)
        # The message before, and its letter; there was none as long as there are no keys.
        self._address = b""
        self._header = b""
        self._keys: list[str] = []
        self._deaths = Deaths([])
        self._hides = False
        self._made_address = b""
        self._made_header = b""

    def make(self, message: Message, death: Death) -> Letter:
        """The dead letter of this message. What it shares with others may not be changed."""
        header = message.header
        if (
            not self._keys
            or message.address != self._address
            or not death.is_like(self._death)
            or header[properties.FLAGS_AT :] != self._header[properties.FLAGS_AT :]
        ):
            letter = make_letter(message, death)
            self._death = death
            self._address = message.address
            self._header = header
            self._keys = letter.keys
            self._deaths = letter.deaths
            self._hides = letter.hides
            self._made_address = letter.message.address
            self._made_header = letter.message.header
            return letter
        made = self._made_header
        if header != self._header:
            # The size of the body is another one.
            made = header[: properties.FLAGS_AT] + made[properties.FLAGS_AT :]
        letter_message = Message(0, self._made_address, 0, made, message.body, message.persistent)
        return Letter(letter_message, self._keys, self._deaths, self._hides)


def _copies(header: bytes, field: bytes) -> list[str]:
    """The routing keys in the CC or BCC header."""
    if field not in header:
        return []
    copies = (properties.headers_of(header) or {}).get(field[1:].decode())
    return [each for each in copies if isinstance(each, str)] if isinstance(copies, list) else []


def hides(header: bytes) -> bool:
    """Whether there may be BCC keys in this header."""
    return BCC_FIELD in header


def shown(header: bytes) -> bytes:
    """The header as others may see it."""
    if hides(header) and properties.find_header(header, "BCC") >= 0:
        return properties.with_edited_headers(header, {}, ["BCC"])
    return header


def is_marked(header: bytes) -> bool:
    """Whether the broker wrote the x-death of this message."""
    position = properties.find(header, properties.HEADERS)
    return position >= 0 and header.startswith(MARK_OCTETS, int(position) + 4)


def unmarked(header: bytes) -> bytes:
    """The header of a publish that `is_marked`: the mark is not its first header any more.

    One that has no other header stays as it is: it has no x-death.
    """
    return properties.with_last_entries(header, [MARK])


def entries_of(header: bytes) -> list[bytes]:
    """The octets of each table in the x-death array; what else may be there is left out."""
    found: list[bytes] = []
    position = properties.find_header(header, DEATHS)
    if position < 0 or i64(header[position]) != ARRAY:
        return found
    position += 1
    end: i64 = position + 4 + (i64(read_i32_be(header, position)) & 0xFFFFFFFF)
    position += 4
    while position < end:
        entry_end = checked_value_end(header, position)
        if i64(header[position]) == TABLE:
            found.append(header[position:entry_end])
        position = entry_end
    return found


def split_address(address: bytes) -> tuple[str, str]:
    """The exchange and the routing key of a message's address."""
    end: i64 = 1 + i64(address[0])
    return (
        address[1:end].decode("utf-8", "surrogateescape"),
        address[end + 1 :].decode("utf-8", "surrogateescape"),
    )


def as_text(name: str) -> str | bytes:
    """A name as a table holds it: its octets where they are not UTF-8."""
    return text_or_bytes(name.encode("utf-8", "surrogateescape"))


def _short(name: str) -> bytes:
    """A name as a short string; a configured routing key may be longer than there is room for."""
    octets = name.encode("utf-8", "surrogateescape")[:SHORT_STRING_MAX]
    return bytes([len(octets)]) + octets
