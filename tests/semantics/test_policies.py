"""Policies as clients see them (facts 92, 135, 136): set from inside, in memory only."""

from __future__ import annotations

from amqbroker.management import policies

from .conftest import Bench
from .marks import fact
from .peer import Channel


def _set(bench: Bench, name: str, pattern: str, priority: int = 0, **settings: object) -> None:
    broker = bench.node.node._broker
    definition = {key.replace("_", "-"): value for key, value in settings.items()}
    policies.set_policy(broker, "/", name, pattern, definition, priority)


def _set_as_operator(bench: Bench, name: str, pattern: str, **settings: object) -> None:
    broker = bench.node.node._broker
    definition = {key.replace("_", "-"): value for key, value in settings.items()}
    policies.set_operator_policy(broker, "/", name, pattern, definition)


def _lifetime_s(bench: Bench, ch: Channel, queue: str) -> int:
    """How many seconds an unused queue lives, within ten; passive declares would be use."""
    for second in range(10, 100, 10):
        bench.advance(10.0)
        if queue not in bench.node.node._broker.vhosts["/"].queues:
            return second
    return 0


@fact(135)
def test_fact_135_of_numbers_the_smaller_one_holds(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    _set(memory_bench, "p", "^q", expires=25_000)
    ch.declare_queue("q1", arguments={"x-expires": 45_000})
    assert _lifetime_s(memory_bench, ch, "q1") == 30
    ch.declare_queue("q2", arguments={"x-expires": 15_000})
    assert _lifetime_s(memory_bench, ch, "q2") == 20


@fact(135, 92)
def test_fact_135_of_texts_the_argument_holds(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    for name in ("argued", "set"):
        ch.declare_queue(name)
        ch.declare_exchange(f"to-{name}", "fanout")
        ch.bind(name, f"to-{name}")
    _set(memory_bench, "p", "^e", alternate_exchange="to-set")
    ch.declare_exchange("e1", arguments={"alternate-exchange": "to-argued"})
    ch.declare_exchange("e2")
    ch.publish(b"1", exchange="e1", key="nowhere")
    ch.publish(b"2", exchange="e2", key="nowhere")
    assert (ch.get_bodies("argued"), ch.get_bodies("set")) == ([b"1"], [b"2"])


@fact(136)
def test_fact_136_the_highest_priority_holds_alone(memory_bench: Bench) -> None:
    """Nothing is merged from other policies that match; without a match there is none."""
    ch = memory_bench.channel()
    _set(memory_bench, "low", "^q", 1, expires=15_000)
    _set(memory_bench, "high", "^q1", 2, max_length=5)
    for queue in ("q1", "q2", "other"):
        ch.declare_queue(queue)
    assert _lifetime_s(memory_bench, ch, "q2") == 20
    assert ch.queue_exists("q1")
    assert ch.queue_exists("other")


@fact(136)
def test_fact_136_an_operator_policy_merges_with_the_smaller_number(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    _set(memory_bench, "p", "^q", expires=25_000)
    _set_as_operator(memory_bench, "o", "^q1", expires=15_000)
    _set_as_operator(memory_bench, "o2", "^q2", expires=45_000)
    ch.declare_queue("q1")
    assert _lifetime_s(memory_bench, ch, "q1") == 20
    ch.declare_queue("q2")
    assert _lifetime_s(memory_bench, ch, "q2") == 30


@fact(136)
def test_fact_136_a_policy_holds_at_once_and_after_a_restart(memory_bench: Bench) -> None:
    ch = memory_bench.channel()
    ch.declare_queue("q", durable=True)
    _set(memory_bench, "p", "^q", expires=15_000)
    ch.sync()
    memory_bench.broker.restart(clean=True)
    ch = memory_bench.channel()
    assert ch.queue_exists("q")
    assert _lifetime_s(memory_bench, ch, "q") == 20


@fact(135)
def test_fact_135_dead_letters_go_where_the_argument_says(memory_bench: Bench) -> None:
    """Each of exchange and key by itself; a policy fills in what no argument gives, at once."""
    ch = memory_bench.channel()
    for name in ("argued", "set", "k"):
        ch.declare_queue(name)
    _set(memory_bench, "p", "^q", dead_letter_exchange="", dead_letter_routing_key="set")
    ch.declare_queue("q1")
    ch.declare_queue(
        "q2",
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "argued"},
    )
    for queue in ("q1", "q2"):
        ch.fill(queue, queue.encode())
        ch.reject(ch.must_get(queue).tag, requeue=False)
    ch.sync()
    assert (ch.get_bodies("argued"), ch.get_bodies("set")) == ([b"q2"], [b"q1"])
    _set(memory_bench, "p", "^q", dead_letter_exchange="", dead_letter_routing_key="k")
    ch.fill("q1", b"later")
    ch.reject(ch.must_get("q1").tag, requeue=False)
    ch.sync()
    assert ch.get_bodies("k") == [b"later"]


@fact(136)
def test_fact_136_a_policy_with_settings_of_another_type_does_not_hold(
    memory_bench: Bench,
) -> None:
    """The next one does."""
    ch = memory_bench.channel()
    _set(memory_bench, "high", "^q", 9, max_age="1D", max_length=1)
    _set(memory_bench, "low", "^q", 1, max_length=2)
    ch.declare_queue("q")
    for body in (b"1", b"2", b"3"):
        ch.publish(body, key="q")
    assert ch.get_bodies("q") == [b"2", b"3"]
