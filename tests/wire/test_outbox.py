"""The output buffer gives back everything once, in order, large pieces without a copy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.wire.outbox import KEPT_BUFFER_MIN_BYTES, Outbox


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
