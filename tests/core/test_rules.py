"""What holds for a queue, out of its arguments and policies."""

from __future__ import annotations

from amqbroker.core.policies import Policy
from amqbroker.core.rules import DROP_HEAD, NO_LIMIT, REJECT_PUBLISH, REJECT_PUBLISH_DLX, Rules


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


def test_of_an_argument_and_a_policy_the_smaller_limit_holds() -> None:
    """Fact 135: numbers take the minimum, texts the argument."""
    policy = Policy(
        "p",
        "",
        "all",
        0,
        {
            "message-ttl": 5,
            "expires": 50,
            "max-length": 7,
            "consumer-timeout": 9,
            "overflow": "reject-publish",
            "dead-letter-exchange": "by-policy",
            "dead-letter-routing-key": "by-policy",
        },
    )
    rules = Rules(
        {
            "x-message-ttl": 9,
            "x-expires": 40,
            "x-max-length-bytes": 3,
            "x-consumer-timeout": 8,
            "x-overflow": "drop-head",
            "x-dead-letter-exchange": "",
        },
        policy,
    )
    assert (rules.message_ttl_ms, rules.expires_ms) == (5, 40)
    assert (rules.max_length, rules.max_length_bytes) == (7, 3)
    assert rules.consumer_timeout_ms == 8
    assert rules.overflow == DROP_HEAD
    assert (rules.dead_letter_exchange, rules.dead_letter_key) == ("", "by-policy")


def test_no_limit_gives_way_to_any() -> None:
    """-1 lifts a delivery limit only where nothing else sets one."""
    policy = Policy("p", "", "all", 0, {"delivery-limit": 4, "overflow": "reject-publish"})
    rules = Rules({"x-delivery-limit": -1}, None, policy)
    assert rules.delivery_limit == 4
    assert rules.overflow == REJECT_PUBLISH
    assert Rules({"x-delivery-limit": -1}).delivery_limit == NO_LIMIT


def test_priorities_are_no_matter_of_policies() -> None:
    """They shape the queue when it is declared."""
    assert Rules({}, Policy("p", "", "all", 0, {"max-priority": 4})).max_priority == NO_LIMIT
