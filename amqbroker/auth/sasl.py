"""SASL: responses to a user's name and password (PLAIN, AMQPLAIN), and EXTERNAL.

    PLAIN      NUL user NUL password
    AMQPLAIN   the entries of a field table, without its size, with LOGIN and PASSWORD
    EXTERNAL   empty: the name is in the client's TLS certificate

All mechanisms need one response and no challenge. The name is text, the password octets: it is
only ever hashed. A response that cannot be read is 502, which RabbitMQ does not send at this point.

Source: RFC 4616; RabbitMQ's `rabbit_auth_mechanism_plain`, `rabbit_auth_mechanism_amqplain`,
`rabbit_auth_mechanism_ssl`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

from amqbroker.errors import syntax_error

PLAIN: Final = "PLAIN"
AMQPLAIN: Final = "AMQPLAIN"
EXTERNAL: Final = "EXTERNAL"

# What is offered unless a listener says otherwise, in this order.
MECHANISMS: Final = (PLAIN, AMQPLAIN)


@final
class Credentials:
    """What a client logs in with."""

    __slots__ = ("password", "user")

    def __init__(self, user: str, password: bytes) -> None:
        self.user = user
        self.password = password


def read_response(
    mechanism: str, response: bytes, decode_table: Callable[[bytes], Mapping[str, object]]
) -> Credentials:
    """The credentials in the response to one of the mechanisms with a password.

    `decode_table` reads a field table with its size; what it raises goes through.
    """
    if mechanism == AMQPLAIN:
        return read_amqplain(decode_table(len(response).to_bytes(4, "big") + response))
    assert mechanism == PLAIN, f"{mechanism} was not offered"
    return read_plain(response)


def offered_to(mechanisms: tuple[str, ...], has_certificate: bool) -> list[str]:
    """What of a listener's mechanisms is offered to a client.

    EXTERNAL only to those who can use it: py-amqp takes it whenever it is there.
    """
    return [each for each in mechanisms if each != EXTERNAL or has_certificate]


def read_plain(response: bytes) -> Credentials:
    """The authorization identity before the first NUL has to be empty."""
    parts = response.split(b"\x00")
    if len(parts) != 3 or parts[0]:
        raise syntax_error("PLAIN response is not NUL user NUL password")
    return Credentials(name_of(parts[1]), parts[2])


def read_amqplain(table: Mapping[str, object]) -> Credentials:
    """Entries other than LOGIN and PASSWORD do not matter."""
    user = table.get("LOGIN")
    password = table.get("PASSWORD")
    if not isinstance(user, str | bytes) or not isinstance(password, str | bytes):
        raise syntax_error("AMQPLAIN auth info is missing LOGIN or PASSWORD field")
    name = name_of(user) if isinstance(user, bytes) else user
    return Credentials(name, password if isinstance(password, bytes) else password.encode())


def name_of(octets: bytes) -> str:
    """A user's name; one that is not UTF-8 is nobody's, and U+FFFD keeps it so."""
    return octets.decode(errors="replace")
