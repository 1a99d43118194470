"""The headers exchange: a message goes where a binding's arguments agree with its headers.

`x-match` of the binding says how: `all` (the default) wants every argument in the headers, `any`
at least one. Both skip arguments whose names begin with `x-`; `all-with-x` and `any-with-x` skip
only `x-match`. With nothing left to compare, `all` matches every message and `any` none. An
argument without a value (void) asks for the header's presence; any other for an equal value, in
the sense of `freeze`, to which a timestamp is the number of its seconds.

Bindings are indexed by what they ask for: an `any` binding under each of its conditions, an `all`
binding under one of them, the one that the fewest others are under when it is made. A message
looks up its own headers only, so the work follows from its headers and from the bindings that
share such a condition, not from all bindings.

Source: AMQP 0-9-1 section 3.1.3.4, RabbitMQ's `rabbit_exchange_type_headers`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, final

from amqbroker.errors import precondition_failed
from amqbroker.exchanges.base import Binding, Destination, Exchange, Table, freeze, in_order
from amqbroker.exchanges.terms import field_type, term

MATCH: Final = "x-match"
X_PREFIX: Final = "x-"
MATCH_VALUES: Final = ("all", "any", "all-with-x", "any-with-x")


@final
class _Condition:
    """A header that a binding asks for: with this frozen value, or with any if it is None."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self.value = value


@final
class _Pattern:
    """A binding with its conditions. `indexed` are those that it can be found under."""

    __slots__ = ("binding", "conditions", "indexed", "is_any")

    def __init__(self, binding: Binding) -> None:
        match = binding.arguments.get(MATCH, "all")
        with_x = match == "all-with-x" or match == "any-with-x"
        self.binding = binding
        self.is_any = match == "any" or match == "any-with-x"
        self.conditions: list[_Condition] = []
        self.indexed: list[_Condition] = []
        for name, value in binding.arguments.items():
            if name != MATCH and (with_x or not name.startswith(X_PREFIX)):
                self.conditions.append(_Condition(name, _frozen(value)))


@final
class HeadersExchange(Exchange):
    """Routes by header values; the routing key does not matter."""

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
        self.needs_headers = True
        # By header name, then by value; a value of None stands for presence.
        self._index: dict[str, dict[object, dict[int, _Pattern]]] = {}
        self._unconditional: dict[int, Binding] = {}
        self._patterns: dict[int, _Pattern] = {}

    def route(self, routing_key: str, headers: Table | None) -> list[Destination]:
        found = self._unconditional.copy()
        if headers is not None:
            frozen: Table = {}
            for name, value in headers.items():
                by_value = self._index.get(name)
                if by_value is None:
                    continue
                wanted = _frozen(value)
                frozen[name] = wanted
                _collect(by_value.get(None), headers, frozen, found)
                if wanted is not None:
                    _collect(by_value.get(wanted), headers, frozen, found)
        return in_order(found)

    def _validate(self, key: str, arguments: Table) -> None:
        if MATCH not in arguments:
            return
        match = arguments[MATCH]
        kind = field_type(match)
        if kind != "longstr":
            raise precondition_failed(
                f"Invalid x-match field type {kind} (value {term(match)}); expected longstr"
            )
        if match not in MATCH_VALUES:
            raise precondition_failed(
                f"Invalid x-match field value {term(match)}; "
                "expected all, any, all-with-x, or any-with-x"
            )

    def _added(self, binding: Binding) -> None:
        pattern = _Pattern(binding)
        self._patterns[binding.serial] = pattern
        if pattern.is_any:
            pattern.indexed = pattern.conditions
        elif pattern.conditions:
            pattern.indexed = [self._rarest(pattern.conditions)]
        else:
            self._unconditional[binding.serial] = binding
        for condition in pattern.indexed:
            by_value = self._index.get(condition.name)
            if by_value is None:
                by_value = {}
                self._index[condition.name] = by_value
            candidates = by_value.get(condition.value)
            if candidates is None:
                candidates = {}
                by_value[condition.value] = candidates
            candidates[binding.serial] = pattern

    def _removed(self, binding: Binding) -> None:
        pattern = self._patterns.pop(binding.serial)
        self._unconditional.pop(binding.serial, None)
        for condition in pattern.indexed:
            by_value = self._index[condition.name]
            candidates = by_value[condition.value]
            del candidates[binding.serial]
            if not candidates:
                del by_value[condition.value]
                if not by_value:
                    del self._index[condition.name]

    def _rarest(self, conditions: list[_Condition]) -> _Condition:
        """The condition that the fewest patterns are under; the first of several."""
        best = conditions[0]
        fewest = self._count(best)
        for condition in conditions:
            count = self._count(condition)
            if count < fewest:
                best = condition
                fewest = count
        return best

    def _count(self, condition: _Condition) -> int:
        by_value = self._index.get(condition.name)
        if by_value is None:
            return 0
        candidates = by_value.get(condition.value)
        return 0 if candidates is None else len(candidates)


def _frozen(value: object) -> object:
    """What a header's value is compared by: its kind of number says nothing of a timestamp."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    return freeze(value)


def _collect(
    candidates: dict[int, _Pattern] | None, headers: Table, frozen: Table, found: dict[int, Binding]
) -> None:
    """Add those candidates that match: the condition that they are found under holds."""
    if candidates is None:
        return
    for serial, pattern in candidates.items():
        if (
            pattern.is_any
            or len(pattern.conditions) == 1
            or _all_hold(pattern.conditions, headers, frozen)
        ):
            found[serial] = pattern.binding


def _all_hold(conditions: list[_Condition], headers: Table, frozen: Table) -> bool:
    """Whether all conditions hold. `frozen` gains the header values that were looked at."""
    for condition in conditions:
        name = condition.name
        if name not in headers:
            return False
        if condition.value is None:
            continue
        value = frozen.get(name)
        if value is None:
            value = _frozen(headers[name])
            frozen[name] = value
        if value != condition.value:
            return False
    return True
