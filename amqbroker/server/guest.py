"""The user that everybody knows, where everybody can reach the broker."""

from __future__ import annotations

import logging

from amqbroker.auth.users import is_loopback
from amqbroker.core.broker import Broker
from amqbroker.core.configured import GUEST, guest_is_known

logger = logging.getLogger("amqbroker")


def warn_of_guest(broker: Broker) -> None:
    """Others can reach the broker, and `guest` has the password that everybody knows."""
    config = broker.config
    opened = [
        str(item)
        for item in (*config.listeners, *config.tls_listeners)
        if item.host != "localhost" and not is_loopback(item.host)
    ]
    if not opened or not guest_is_known(broker):
        return
    reach = (
        "may log in from this host only (loopback_users), but so may everybody who has an account "
        "here"
    )
    if GUEST not in config.loopback_users:
        reach = "may log in from anywhere: whoever can reach the broker may do everything with it"
    logger.warning(
        "the broker listens on %s, and user '%s' still has the password '%s': it %s. Give it "
        "another one (amqbroker ctl change_password %s), or delete it (amqbroker ctl delete_user "
        "%s)",
        ", ".join(opened),
        GUEST,
        GUEST,
        reach,
        GUEST,
        GUEST,
    )
