"""Limits of virtual hosts and users, at their edges.

RabbitMQ counts connections and channels a little later than they come, so only limits that nothing
fits into can be played without a race.
"""

from __future__ import annotations

import json

from interop.beside.brokers import Controls
from interop.beside.catalogue import scenario
from interop.beside.stage import Stage

_VHOST = "beside-other"


def _controls(s: Stage) -> Controls:
    assert s.broker.controls is not None, "a scenario that plays alone"
    return s.broker.controls


@scenario(alone=True)
def of_a_virtual_host(s: Stage) -> None:
    """What is there stays when a limit comes that is below it, and what goes makes room."""
    controls = _controls(s)
    ch = s.channel(vhost=_VHOST)
    ch.declare(s.q("a"))
    ch.declare(s.q("b"))
    try:
        for limit in (1, 2):
            limits = {"max-queues": limit, "max-connections": limit - 1}
            controls.control("set_vhost_limits", "-p", _VHOST, json.dumps(limits))
            s.connection(vhost=_VHOST)
            ch.declare(s.q("b"))
            ch.declare(s.q("c"))
            ch.declare("")
            ch.declare(s.q("c"), passive=True)
            ch.declare(s.q("a"), exclusive=True)
            ch.declare("amq.no")
            ch.delete(s.q("b"))
            ch.declare(s.q("d"))
            ch.declare(s.q("b"), exclusive=True)
    finally:
        controls.control("clear_vhost_limits", "-p", _VHOST)
        for stem in ("a", "b", "c", "d"):
            ch.delete(s.q(stem))


@scenario("max-connections", "max-channels", alone=True)
def of_a_user(s: Stage, limit: str) -> None:
    """None at all."""
    controls = _controls(s)
    controls.control("set_user_limits", "reader", json.dumps({limit: 0}))
    try:
        connection = s.connection("reader")
        if not connection.closed:
            connection.channel()
    finally:
        controls.control("clear_user_limits", "reader", "all")
    s.channel("reader").declare("amq.no")
