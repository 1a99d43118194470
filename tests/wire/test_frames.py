"""The numbers of the framing layer are pamqp's."""

from __future__ import annotations

from pamqp import commands, constants, heartbeat

from amqbroker.wire import frames


def test_frame_types_and_sizes() -> None:
    assert frames.METHOD == constants.FRAME_METHOD
    assert frames.HEADER == constants.FRAME_HEADER
    assert frames.BODY == constants.FRAME_BODY
    assert frames.HEARTBEAT == constants.FRAME_HEARTBEAT
    assert frames.END == constants.FRAME_END
    assert frames.PREFIX_SIZE == constants.FRAME_HEADER_SIZE
    assert frames.FRAME_SIZE_MIN == constants.FRAME_MIN_SIZE


def test_method_numbers() -> None:
    assert commands.Basic.Publish.index == frames.BASIC_PUBLISH
    assert commands.Basic.Return.index == frames.BASIC_RETURN
    assert commands.Basic.Deliver.index == frames.BASIC_DELIVER
    assert commands.Basic.GetOk.index == frames.BASIC_GET_OK
    assert commands.Basic.Ack.index == frames.BASIC_ACK
    assert commands.Basic.Nack.index == frames.BASIC_NACK


def test_the_heartbeat() -> None:
    assert heartbeat.Heartbeat().marshal() == frames.HEARTBEAT_FRAME
