"""The topic exchange: binding keys are patterns of words between dots.

`*` stands for exactly one word, `#` for zero or more. The empty key has no words at all (so `#`
matches it and `*` does not), while `a.` has two, the second of them empty. A word is a wildcard
only if it is all of the word.

Binding keys form a trie of words. Routing walks all of it that agrees with the message, word by
word, with the list of nodes reached so far. A node is in that list at most once a word: a node
under a plain word or `*` has one way in, and a `#` node, which may be entered from its parent or
stay where it is, carries the number of the last step that reached it. So the work is at most words
times the nodes that agree with some beginning of the key, for any number of `#`; bindings that do
not match cost nothing. Unbinding prunes the trie.

Source: AMQP 0-9-1 section 3.1.3.3, RabbitMQ's `rabbit_exchange_type_topic`.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from amqbroker.exchanges.base import Binding, Bucket, Destination, Exchange, Table, merge

ONE_WORD: Final = "*"
ANY_WORDS: Final = "#"


@final
class _Node:
    """A prefix of binding keys."""

    __slots__ = ("any_words", "bucket", "children", "is_any_words", "one_word", "step")

    def __init__(self, is_any_words: bool) -> None:
        self.is_any_words = is_any_words
        self.step: i64 = 0  # the last step of a route that reached this node
        self.children: dict[str, _Node] | None = None  # by the next word
        self.one_word: _Node | None = None  # the next word is `*`
        self.any_words: _Node | None = None  # the next word is `#`
        self.bucket: Bucket | None = None  # the bindings whose key ends here

    def child(self, word: str) -> _Node | None:
        """The node for one more word of a binding key."""
        if word == ONE_WORD:
            return self.one_word
        if word == ANY_WORDS:
            return self.any_words
        return None if self.children is None else self.children.get(word)

    def make_child(self, word: str) -> _Node:
        """The same, made if there is none."""
        node = self.child(word)
        if node is not None:
            return node
        node = _Node(word == ANY_WORDS)
        if word == ONE_WORD:
            self.one_word = node
        elif word == ANY_WORDS:
            self.any_words = node
        else:
            if self.children is None:
                self.children = {}
            self.children[word] = node
        return node

    def drop_child(self, word: str) -> None:
        """Forget the node for one more word."""
        if word == ONE_WORD:
            self.one_word = None
        elif word == ANY_WORDS:
            self.any_words = None
        elif self.children is not None:
            del self.children[word]
            if not self.children:
                self.children = None

    def is_empty(self) -> bool:
        """Whether no binding needs this node."""
        return (
            self.bucket is None
            and self.children is None
            and self.one_word is None
            and self.any_words is None
        )


def split_words(key: str) -> list[str]:
    """The words of a binding key or a routing key."""
    return key.split(".") if key else []


def _enter(first: _Node, reached: list[_Node], step: i64) -> None:
    """Reach a node, and with it every `#` under it that stands for no word."""
    node: _Node | None = first
    while node is not None and node.step != step:
        node.step = step
        reached.append(node)
        node = node.any_words


@final
class TopicExchange(Exchange):
    """Routes by patterns of words."""

    def __init__(
        self,
        name: str,
        type_name: str,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) -> None:
        super().__init__(name, type_name, durable, auto_delete, internal, arguments)
        self._root = _Node(False)
        self._step: i64 = 0

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        step = self._step + 1
        reached: list[_Node] = []
        _enter(self._root, reached, step)
        for word in split_words(routing_key):
            step += 1
            before = reached
            reached = []
            for node in before:
                if node.is_any_words:
                    _enter(node, reached, step)
                if node.one_word is not None:
                    _enter(node.one_word, reached, step)
                if node.children is not None:
                    child = node.children.get(word)
                    if child is not None:
                        _enter(child, reached, step)
            if not reached:
                break
        self._step = step
        return merge([node.bucket for node in reached if node.bucket is not None])

    def _added(self, binding: Binding) -> None:
        node = self._root
        for word in split_words(binding.key):
            node = node.make_child(word)
        if node.bucket is None:
            node.bucket = Bucket()
        node.bucket.add(binding)

    def _removed(self, binding: Binding) -> None:
        words = split_words(binding.key)
        node = self._root
        path = [node]
        for word in words:
            child = node.child(word)
            assert child is not None, (self.name, binding.key)
            node = child
            path.append(node)
        bucket = node.bucket
        assert bucket is not None, (self.name, binding.key)
        bucket.remove(binding)
        if not bucket.bindings:
            node.bucket = None
        depth = len(words)
        while depth > 0 and path[depth].is_empty():
            depth -= 1
            path[depth].drop_child(words[depth])
