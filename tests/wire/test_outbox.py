"""The output buffer gives back everything once, in order, large pieces without a copy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amqbroker.wire.outbox import Outbox


def test_a_new_outbox_is_empty() -> None:
    outbox = Outbox()
    assert outbox.size() == 0
    assert outbox.take() == []


@given(st.lists(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=9)))))
def test_everything_comes_out_once_and_in_order(
    rounds: list[list[tuple[bool, bytes]]],
) -> None:
    outbox = Outbox()
    for writes in rounds:
        for large, octets in writes:
            if large:
                outbox.write_large(octets)
            else:
                outbox.small.write(octets)
        expected = b"".join(octets for _, octets in writes)
        assert outbox.size() == len(expected)
        pieces = outbox.take()
        assert b"".join(pieces) == expected
        assert all(pieces)
        for large, octets in writes:
            assert not large or any(piece is octets for piece in pieces)
        assert outbox.size() == 0
