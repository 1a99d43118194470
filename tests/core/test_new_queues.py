"""What is asked before a queue is made."""

from __future__ import annotations

import pytest

from amqbroker.core.new_queues import check_queue_limit
from amqbroker.core.vhost import VirtualHost
from amqbroker.errors import ChannelException
from tests.core.house import House, make_queue
from tests.semantics.peer import Channel


def test_a_limit_counts_what_is_there_and_what_comes() -> None:
    vhost = VirtualHost("/", None)
    vhost.max_queues = 3
    vhost.add_queue(make_queue("a"))
    check_queue_limit(vhost, "b")
    check_queue_limit(vhost, "c", 2)
    with pytest.raises(ChannelException, match="cannot declare queue 'd': queue limit in vhost"):
        check_queue_limit(vhost, "d", 3)
    vhost.max_queues = -1
    check_queue_limit(vhost, "d", 100)


def test_what_is_refused_is_not_made(house: House, ch: Channel) -> None:
    for arguments in ({"x-queue-type": "quorum"}, {"x-max-priority": 256}):
        with pytest.raises(AssertionError):
            ch.declare_queue("q", arguments=dict(arguments))
        ch = house.channel()
    assert not house.vhost().queues
