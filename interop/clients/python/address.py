"""The broker's address, taken from an AMQP URI."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker listens and who logs in."""

    host: str
    port: int
    user: str
    password: str
    vhost: str

    @classmethod
    def parse(cls, uri: str) -> Address:
        """Read `amqp://user:password@host:port/vhost`; an absent part has the customary default."""
        parts = urlsplit(uri)
        if parts.scheme != "amqp":
            raise ValueError(f"not an amqp:// URI: {uri}")
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 5672,
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            vhost=unquote(parts.path[1:]) or "/",
        )

    def uri(self) -> str:
        """The address as a URI, its parts quoted."""
        user, password, vhost = (quote(p, safe="") for p in (self.user, self.password, self.vhost))
        return f"amqp://{user}:{password}@{self.host}:{self.port}/{vhost}"

    def at(self, host: str, port: int) -> Address:
        """The same login through another host and port."""
        return replace(self, host=host, port=port)
