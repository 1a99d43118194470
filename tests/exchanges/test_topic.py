"""The topic exchange: words, wildcards, the trie."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqbroker.exchanges.base import QUEUE, Destination
from amqbroker.exchanges.topic import TopicExchange, _Node

from .naive import matches_topic

A = Destination(QUEUE, "a")
B = Destination(QUEUE, "b")
C = Destination(QUEUE, "c")


def make(*keys: str) -> TopicExchange:
    exchange = TopicExchange("x", "topic", True, False, False, {})
    for key in keys:
        exchange.bind(A, key, {})
    return exchange


def count_nodes(node: _Node) -> int:
    below = list((node.children or {}).values())
    below += [child for child in (node.one_word, node.any_words) if child is not None]
    return 1 + sum(count_nodes(child) for child in below)


# What RabbitMQ answers for these, empty words and the empty key among them.
@pytest.mark.parametrize(
    ("key", "routing_key", "is_match"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a", False),
        ("a.b", "a.b.c", False),
        ("*", "a", True),
        ("*", "a.b", False),
        ("*", "", False),
        ("*", "*", True),
        ("*", "#", True),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.", True),
        ("*.*", ".", True),
        ("*.b.*", "a.b.c", True),
        ("a*", "ab", False),
        ("a*", "a*", True),
        ("a#.b", "a.b", False),
        ("#", "", True),
        ("#", "a", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "a.", True),
        ("a.#", "a.b.c", True),
        ("a.#", "b.a", False),
        ("#.a", "a", True),
        ("#.a", "b.c.a", True),
        ("#.a", "a.b", False),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "a.b.x", False),
        ("#.#", "", True),
        ("#.#", "a.b", True),
        ("#.*", "", False),
        ("*.#", "", False),
        ("*.#", "a", True),
        ("#.*.#", "a.b.c", True),
        ("#.b.#", "a.b.c", True),
        ("#.b.#", "a.c", False),
        ("a.#.", "a.", True),
        ("", "", True),
        ("", "a", False),
        ("größe.*", "größe.日本", True),
    ],
)
def test_match(key: str, routing_key: str, is_match: bool) -> None:
    assert make(key).route(routing_key, None) == ([A] if is_match else [])


def test_a_destination_with_several_matching_keys_gets_one_copy() -> None:
    assert make("#", "a.*", "*.b", "a.b", "a.#.b").route("a.b", None) == [A]


def test_destinations_come_in_binding_order_from_all_over_the_trie() -> None:
    exchange = make()
    exchange.bind(C, "a.b", {})
    exchange.bind(A, "#", {})
    exchange.bind(B, "*.b", {})
    exchange.bind(C, "#", {})
    assert exchange.route("a.b", None) == [C, A, B]
    assert exchange.route("z", None) == [A, C]


def test_a_longer_key_survives_the_loss_of_its_prefix_and_the_reverse() -> None:
    exchange = make()
    exchange.bind(A, "a.b.c", {})
    exchange.bind(B, "a.b", {})
    exchange.unbind(B, "a.b", {})
    assert exchange.route("a.b.c", None) == [A]
    exchange.bind(B, "a.b", {})
    exchange.unbind(A, "a.b.c", {})
    assert exchange.route("a.b", None) == [B]
    assert exchange.route("a.b.c", None) == []


@pytest.mark.parametrize("key", ["a.b.c", "a.*.c", "a.#", "#", "*", "", "#.#.*.a"])
def test_unbinding_prunes_the_trie(key: str) -> None:
    exchange = make("a.b", key)
    exchange.unbind(A, key, {})
    assert count_nodes(exchange._root) == 3
    exchange.unbind_destination(A)
    assert count_nodes(exchange._root) == 1


def test_many_hashes_and_many_words_are_quick() -> None:
    hashes = 10
    exchange = make(*(".".join(["#"] * count + ["end"]) for count in range(1, hashes + 1)))
    exchange.bind(B, ".".join(["#.a.*"] * hashes), {})
    exchange.bind(C, ".".join(["#.a"] * hashes), {})
    words = ".".join(["a"] * 200)
    started = time.perf_counter()
    assert exchange.route(words, None) == [B, C]
    assert exchange.route(words + ".end", None) == [A, B]
    assert exchange.route(words + ".b.b", None) == []
    # Trying each split in turn would take longer than the age of the universe.
    assert time.perf_counter() - started < 1.0


PATTERNS = st.lists(st.sampled_from(["a", "b", "", "*", "#"]), max_size=6).map(".".join)
ROUTING_KEYS = st.lists(st.sampled_from(["a", "b", "c", "", "*", "#"]), max_size=7).map(".".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(PATTERNS, min_size=1, max_size=12), st.lists(ROUTING_KEYS, min_size=1, max_size=5))
def test_agrees_with_a_recursive_matcher(patterns: list[str], routing_keys: list[str]) -> None:
    exchange = make()
    for number, pattern in enumerate(patterns):
        exchange.bind(Destination(QUEUE, str(number)), pattern, {})
    for routing_key in routing_keys:
        matching = [
            str(number)
            for number, pattern in enumerate(patterns)
            if matches_topic(pattern, {}, routing_key, {})
        ]
        assert [found.name for found in exchange.route(routing_key, None)] == matching
