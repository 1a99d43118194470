"""JSON values as Erlang terms, which is how RabbitMQ's texts show a value that was refused."""

from __future__ import annotations

from amqbroker.exchanges.terms import term


def json_term(value: object) -> str:
    """A decoded JSON value as `~tp` prints it."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        pairs = [f"{term(str(key))} => {json_term(item)}" for key, item in value.items()]
        return f"#{{{','.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{','.join(json_term(item) for item in value)}]"
    return term(value)


def pairs_term(pairs: dict[str, object]) -> str:
    """A JSON object as a list of pairs."""
    shown = [f"{{{term(key)},{json_term(value)}}}" for key, value in pairs.items()]
    return f"[{','.join(shown)}]"
