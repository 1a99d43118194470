"""The output buffer gives back everything once, in order, large pieces without a copy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.message import Message
from amqbroker.wire.outbox import KEPT_BUFFER_MIN_BYTES, PIECE_BYTES, Outbox
from amqbroker.wire.writer import deliver_prefix, write_deliver


def test_a_new_outbox_is_empty() -> None:
    outbox = Outbox()
    assert outbox.size() == 0
    assert outbox.take() == []


# So short that a new buffer is made next, or so long that the buffer is kept.
writes = st.binary(min_size=1, max_size=9).flatmap(
    lambda octets: st.sampled_from((octets, octets * KEPT_BUFFER_MIN_BYTES))
)


@given(st.lists(st.lists(st.tuples(st.booleans(), writes))))
def test_everything_comes_out_once_and_in_order(
    rounds: list[list[tuple[bool, bytes]]],
) -> None:
    outbox = Outbox()
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


def test_a_buffer_is_kept_as_long_as_much_is_written() -> None:
    outbox = Outbox()
    outbox.small.write(bytes(PIECE_BYTES))
    assert outbox.take() == [bytes(PIECE_BYTES)]
    assert outbox.buffer_bytes == PIECE_BYTES
    outbox.small.write(b"heartbeat")
    assert outbox.take() == [b"heartbeat"]
    assert outbox.buffer_bytes == 0


def test_many_deliveries_come_out_in_pieces_that_join_to_what_was_written() -> None:
    message = Message(1, b"\x00\x01q", 0, bytes(14), bytes(range(250)) * 4, False)
    outbox, single = Outbox(), Outbox()
    expected = b""
    for tag in range(100):
        write_deliver(outbox, 1, deliver_prefix("tag"), tag, False, message, 131_064)
        write_deliver(single, 1, deliver_prefix("tag"), tag, False, message, 131_064)
        expected += b"".join(single.take())
    pieces = outbox.take()
    assert b"".join(pieces) == expected
    assert len(pieces) > 5
    assert max(map(len, pieces)) < 2 * PIECE_BYTES
