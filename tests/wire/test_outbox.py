"""The output buffer gives back everything once, in order, large pieces without a copy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from librt.strings import BytesWriter

from amqbroker.message import Message
from amqbroker.wire.outbox import GROWN_FROM_BYTES, Outbox
from amqbroker.wire.writer import deliver_prefix, write_deliver


def test_a_new_outbox_is_empty() -> None:
    outbox = Outbox([])
    assert outbox.size() == 0
    assert outbox.take() == []


# Short, or so long that the buffer has to grow.
writes = st.binary(min_size=1, max_size=9).flatmap(
    lambda octets: st.sampled_from((octets, octets * GROWN_FROM_BYTES))
)


@given(st.lists(st.lists(st.tuples(st.booleans(), writes))))
def test_everything_comes_out_once_and_in_order(
    rounds: list[list[tuple[bool, bytes]]],
) -> None:
    outbox = Outbox([])
    for written in rounds:
        for large, octets in written:
            if large:
                outbox.write_large(octets)
            else:
                outbox.small.write(octets)
        expected = b"".join(octets for _, octets in written)
        assert outbox.size() == len(expected)
        pieces = outbox.take()
        assert b"".join(pieces) == expected
        assert all(pieces)
        for large, octets in written:
            assert not large or any(piece is octets for piece in pieces)
        assert outbox.size() == 0


def test_outboxes_share_the_buffers_that_have_grown() -> None:
    message = Message(1, b"\x00\x01q", 0, bytes(14), bytes(range(250)) * 4, False)
    grown: list[BytesWriter] = []
    first, second, single = Outbox(grown), Outbox(grown), Outbox([])
    for outbox in (first, second):
        expected = b""
        for tag in range(50):
            write_deliver(outbox, 1, deliver_prefix("tag"), tag, False, message, 131_064)
            write_deliver(single, 1, deliver_prefix("tag"), tag, False, message, 131_064)
            expected += b"".join(single.take())
        assert grown == []
        assert outbox.take() == [expected]
        assert [len(buffer) for buffer in grown] == [0]
