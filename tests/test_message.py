"""Messages and entries: what a new one is, and how small they stay."""

from __future__ import annotations

import pytest

from amqbroker import message
from amqbroker.message import IMMEDIATE, MANDATORY, Entry, Message


def _message() -> Message:
    return Message(7, b"\0\1q", MANDATORY | IMMEDIATE, b"header", b"body", True)


def test_a_message_keeps_its_bytes_as_they_came() -> None:
    made = _message()
    assert (made.channel, made.address, made.bits) == (7, b"\0\1q", 3)
    assert (made.header, made.body, made.persistent) == (b"header", b"body", True)


def test_a_new_entry_was_never_journaled_nor_delivered() -> None:
    made = _message()
    entry = Entry(made, 9, 2**40)
    assert entry.message is made
    assert (entry.queue_id, entry.index, entry.file) == (9, 2**40, 0)
    assert entry.state == message.VOLATILE
    assert not entry.redelivered


def test_one_that_is_only_on_disk_has_a_size() -> None:
    absent = message.absent_message(70_000)
    assert absent.is_absent()
    assert absent.body_bytes() == 70_000
    assert absent.body == b""
    assert not _message().is_absent()
    assert _message().body_bytes() == 4


def test_the_states_of_an_entry_differ() -> None:
    states = {message.VOLATILE, message.PENDING, message.WRITTEN, message.SETTLED}
    assert len(states) == 4


@pytest.mark.parametrize("kind", [Message, Entry])
def test_there_is_one_for_each_message_so_it_has_no_dict(kind: type) -> None:
    made = _message()
    instance: object = made if kind is Message else Entry(made, 1, 0)
    assert not hasattr(instance, "__dict__")
    with pytest.raises(AttributeError):
        instance.unheard_of = 1  # type: ignore[attr-defined]
