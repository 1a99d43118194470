"""Logins that wait for a slow hash: whose turn it is.

The edge works on few at a time. Addresses take turns, and so do the users that an address tries: a
thousand wrong passwords a second from one place make logins from there slow, and hardly those from
elsewhere. A network that has more addresses than anybody can count, as each IPv6 site has, counts
as one.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv6Address, ip_address
from typing import Final, final

SITE_BITS: Final = 64


@final
class PasswordCheck:
    """A login that waits for a slow hash: verify `password` against `stored`, then call
    `Node.password_checked`."""

    __slots__ = ("connection_id", "password", "stored")

    def __init__(self, connection_id: int, stored: str | None, password: bytes) -> None:
        self.connection_id = connection_id
        self.stored = stored
        self.password = password


@final
class Logins:
    """All that wait: by address, and there by user. Who was served goes to the end."""

    __slots__ = ("_sites",)

    def __init__(self) -> None:
        self._sites: dict[str, dict[str, deque[PasswordCheck]]] = {}

    def add(self, host: str, user: str, check: PasswordCheck) -> None:
        """One more."""
        users = self._sites.setdefault(site_of(host), {})
        checks = users.get(user)
        if checks is None:
            checks = deque()
            users[user] = checks
        checks.append(check)

    def take(self) -> PasswordCheck | None:
        """The next one, if there is any."""
        for site in self._sites:
            users = self._sites.pop(site)
            check = _take_of(users)
            if users:
                self._sites[site] = users
            return check
        return None


def _take_of(users: dict[str, deque[PasswordCheck]]) -> PasswordCheck:
    user = next(iter(users))
    checks = users.pop(user)
    check = checks.popleft()
    if checks:
        users[user] = checks
    return check


def site_of(host: str) -> str:
    """Whom an address belongs to, as far as one can tell."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(int(address) >> (128 - SITE_BITS))
