"""The configuration: a frozen tree, read from text.

`Config()` is the broker without any configuration; `load` reads a file's text, the environment and
options into one. Nothing here touches files or the process's environment: the caller hands both in.
"""

from amqbroker.config.load import environment_variables, load, parse_listener, where_of
from amqbroker.config.model import (
    DEFAULT_VHOST,
    Amount,
    Config,
    DeadLetters,
    Definitions,
    Disk,
    Limits,
    Listener,
    Log,
    Memory,
    Permission,
    ServerProperties,
    Store,
    Tls,
    TlsListener,
    TopicPermission,
    User,
    Vhost,
)
from amqbroker.config.tree import ConfigError, Problem

__all__ = [
    "DEFAULT_VHOST",
    "Amount",
    "Config",
    "ConfigError",
    "DeadLetters",
    "Definitions",
    "Disk",
    "Limits",
    "Listener",
    "Log",
    "Memory",
    "Permission",
    "Problem",
    "ServerProperties",
    "Store",
    "Tls",
    "TlsListener",
    "TopicPermission",
    "User",
    "Vhost",
    "environment_variables",
    "load",
    "parse_listener",
    "where_of",
]
