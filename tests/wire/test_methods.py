"""The names of the methods: every one of RabbitMQ's, under its number."""

from __future__ import annotations

import pytest
from pamqp import commands
from pamqp.base import Frame

from amqbroker.wire import methods
from amqbroker.wire.methods import decode_method, encode_method

pytestmark = pytest.mark.filterwarnings("ignore:This command is deprecated")


def test_every_method_of_pamqp_has_a_name_here() -> None:
    here = {each.index: each for each in methods.ALL}
    for index, theirs in commands.INDEX_MAPPING.items():
        assert issubclass(here[index], theirs)
        name = str(theirs().name)
        assert here[index].__name__ == name.replace(".", "")
    assert len(methods.ALL) == len(here) == len(commands.INDEX_MAPPING) + 2


@pytest.mark.parametrize(
    ("frame_class", "class_id", "method_id"),
    [
        (methods.AccessRequest, 30, 10),
        (methods.AccessRequestOk, 30, 11),
        (methods.ConnectionBlocked, 10, 60),
        (methods.ConnectionUnblocked, 10, 61),
        (methods.ConnectionUpdateSecret, 10, 70),
        (methods.ConnectionUpdateSecretOk, 10, 71),
        (methods.ExchangeBind, 40, 30),
        (methods.ExchangeUnbind, 40, 40),
        (methods.ExchangeUnbindOk, 40, 51),
        (methods.BasicNack, 60, 120),
        (methods.ConfirmSelect, 85, 10),
        (methods.ConfirmSelectOk, 85, 11),
    ],
)
def test_the_numbers_of_the_extensions(
    frame_class: type[Frame], class_id: int, method_id: int
) -> None:
    assert frame_class.index == class_id << 16 | method_id


def test_channel_open_ok_is_empty_as_rabbitmqs() -> None:
    assert encode_method(1, methods.ChannelOpenOk())[7:-1] == b"\x00\x14\x00\x0b\x00\x00\x00\x00"


def test_access_request_is_read_and_answered() -> None:
    octets = encode_method(1, methods.AccessRequest(realm="/data", exclusive=True, passive=False))
    assert octets[7:-1] == b"\x00\x1e\x00\x0a\x05/data\x1d"
    read = decode_method(octets[7:-1])
    assert isinstance(read, methods.AccessRequest)
    assert (read.realm, read.exclusive, read.passive, read.read) == ("/data", True, False, True)
    answer = encode_method(1, methods.AccessRequestOk(1))
    assert answer[7:-1] == b"\x00\x1e\x00\x0b\x00\x01"
