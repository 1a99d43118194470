"""Commands hold what they were given, with numbers of the full width."""

from __future__ import annotations

from amqbroker.wire.commands import Ack, Method
from amqbroker.wire.methods import TxSelect


def test_an_ack_holds_the_largest_tag() -> None:
    ack = Ack(65535, 2**63 - 1, True)
    assert (ack.channel, ack.delivery_tag, ack.multiple) == (65535, 2**63 - 1, True)


def test_a_method_holds_its_frame() -> None:
    frame = TxSelect()
    assert Method(1, frame).frame is frame
