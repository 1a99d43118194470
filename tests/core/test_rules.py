"""What holds for a queue, out of its arguments."""

from __future__ import annotations

from amqbroker.core.rules import DROP_HEAD, NO_LIMIT, REJECT_PUBLISH_DLX, Rules


def test_a_plain_queue_has_no_rules() -> None:
    """Nothing limits it, nothing expires, nothing is dead-lettered."""
    rules = Rules({})
    assert rules.message_ttl_ms == rules.expires_ms == rules.delivery_limit == NO_LIMIT
    assert rules.max_length == rules.max_length_bytes == rules.max_priority == NO_LIMIT
    assert rules.overflow == DROP_HEAD
    assert rules.dead_letter_exchange is None
    assert rules.dead_letter_key is None


def test_arguments_are_rules() -> None:
    """Zero is a value of its own, and so is the default exchange."""
    rules = Rules(
        {
            "x-message-ttl": 0,
            "x-expires": 5,
            "x-max-length": 3,
            "x-max-length-bytes": 4,
            "x-max-priority": 9,
            "x-delivery-limit": 2,
            "x-overflow": "reject-publish-dlx",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "dead",
        }
    )
    assert (rules.message_ttl_ms, rules.expires_ms) == (0, 5)
    assert (rules.max_length, rules.max_length_bytes) == (3, 4)
    assert (rules.max_priority, rules.delivery_limit) == (9, 2)
    assert rules.overflow == REJECT_PUBLISH_DLX
    assert (rules.dead_letter_exchange, rules.dead_letter_key) == ("", "dead")
