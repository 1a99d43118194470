"""What a user may do in one virtual host: three regular expressions on the names of resources.

`configure` is needed to declare and delete, `write` to publish and to bind to (the destination),
`read` to consume, get, purge and bind from (the source). A pattern is searched for anywhere in the
name, so `^amq` is a prefix and `amq` a part; the empty pattern matches nothing. The default
exchange is checked as `amq.default`.

Topic permissions come on top: where a user has them for a topic exchange, its patterns are searched
for in the routing key of a message (`write`) and in the binding key (`read`). `{username}` and
`{vhost}` in such a pattern stand for the user and the virtual host, to the letter. RabbitMQ's
`{client_id}` is a word of MQTT: AMQP clients have none, and it stands for itself.

Source: RabbitMQ's `rabbit_auth_backend_internal` and `rabbit_access_control`.
"""

from __future__ import annotations

import re
from typing import Final, final

from amqbroker.errors import ChannelException, access_refused

CONFIGURE: Final = "configure"
WRITE: Final = "write"
READ: Final = "read"

QUEUE: Final = "queue"
EXCHANGE: Final = "exchange"

DEFAULT_EXCHANGE: Final = "amq.default"
EVERYTHING: Final = ".*"


@final
class NamePattern:
    """One compiled pattern. ValueError if it is not a regular expression."""

    __slots__ = ("_everything", "_pattern", "text")

    def __init__(self, text: str, variables: dict[str, str] | None = None) -> None:
        """`variables` are put in where their names stand in braces."""
        self.text = text
        self._everything = text == EVERYTHING
        self._pattern: re.Pattern[str] | None = None
        if not text or self._everything:
            return
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"bad permission pattern {text!r}: it is no Unicode text") from None
        expanded = text
        if variables is not None:
            for name, value in variables.items():
                expanded = expanded.replace("{" + name + "}", re.escape(value))
        try:
            self._pattern = re.compile(expanded)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"bad permission pattern {text!r}: {error}") from error

    def matches(self, name: str) -> bool:
        """Whether the pattern is somewhere in the name."""
        if self._pattern is None:
            return self._everything
        return self._pattern.search(name) is not None


@final
class Permissions:
    """A user's rights in one virtual host."""

    __slots__ = ("configure", "read", "write")

    def __init__(self, configure: str, write: str, read: str) -> None:
        self.configure = NamePattern(configure)
        self.write = NamePattern(write)
        self.read = NamePattern(read)

    def allow(self, permission: str, name: str) -> bool:
        """Whether CONFIGURE, WRITE or READ on the resource of this name is allowed."""
        if permission == WRITE:
            return self.write.matches(name)
        if permission == READ:
            return self.read.matches(name)
        assert permission == CONFIGURE, f"no such permission: {permission}"
        return self.configure.matches(name)


@final
class TopicPermission:
    """A user's rights on the keys of one topic exchange."""

    __slots__ = ("read", "write")

    def __init__(self, write: str, read: str, user: str, vhost: str) -> None:
        variables = {"username": user, "vhost": vhost}
        self.write = NamePattern(write, variables)
        self.read = NamePattern(read, variables)

    def allow(self, permission: str, key: str) -> bool:
        """Whether WRITE with this routing key, or READ with this binding key, is allowed."""
        if permission == WRITE:
            return self.write.matches(key)
        assert permission == READ, f"no permission on topics: {permission}"
        return self.read.matches(key)


def checked_name(kind: str, name: str) -> str:
    """The name under which a resource is checked."""
    return DEFAULT_EXCHANGE if kind == EXCHANGE and not name else name


def refused(permission: str, kind: str, name: str, vhost: str, user: str) -> ChannelException:
    """403 for a resource."""
    return access_refused(
        f"{permission} access to {kind} '{checked_name(kind, name)}' in vhost '{vhost}' "
        f"refused for user '{user}'"
    )


def topic_refused(
    permission: str, key: str, exchange: str, vhost: str, user: str
) -> ChannelException:
    """403 for a routing key or a binding key."""
    return access_refused(
        f"{permission} access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' "
        f"refused for user '{user}'"
    )
