"""Every setting there is, with its default, its range and its unit.

Invariants: the whole tree is frozen, and `Config()` is valid. A field's name is its key in the
file; the field's range is in its type, so that reading and documentation cannot disagree. Names end
in their unit. config/amqbroker.yaml shows every key with its meaning, and a test keeps the two in
step.

Defaults are RabbitMQ 3.13's wherever it has the same setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

DEFAULT_PORT: Final = 5672
DEFAULT_TLS_PORT: Final = 5671

# Sizes may be written as "64MiB" as well as in bytes; `load` looks for this mark.
SIZE: Final = {"size": True}

# Of an Amount: the largest share of the machine's memory that makes sense.
SHARE_MAX: Final = "share_max"

# What the first start of a data folder makes, if the configuration names none.
DEFAULT_VHOST: Final = "/"

# The protocol lets a client insist on 4096 (AMQP 0-9-1 section 1.4.1, frame-min-size).
FRAME_SIZE_BYTES_MIN: Final = 4096
# frame-max is a 32-bit number on the wire, but one frame is one piece of memory: 128 MiB is plenty.
FRAME_SIZE_BYTES_MAX: Final = 134_217_728
# RabbitMQ's hard cap on message size.
MESSAGE_SIZE_BYTES_CAP: Final = 536_870_912

Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
UInt16 = Annotated[int, Meta(ge=0, le=65_535)]
Mechanism = Literal["PLAIN", "AMQPLAIN", "EXTERNAL"]
EXTERNAL: Final = "EXTERNAL"


class Listener(Struct, frozen=True):
    """An address to listen on, written `host:port` or `[ipv6]:port`. Port 0 takes any free port.

    Or a table of `address` and `mechanisms`; none are those of all listeners of the kind.
    """

    host: str
    port: int = DEFAULT_PORT
    mechanisms: tuple[Mechanism, ...] = ()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TlsListener(Listener, frozen=True):
    """An address for TLS."""

    port: int = DEFAULT_TLS_PORT


class ListenerTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A listener as it is written when it has more than an address."""

    address: str
    mechanisms: tuple[Mechanism, ...] = ()


class Amount(Struct, frozen=True):
    """An amount of memory or of disk: bytes, or a share of the machine's memory.

    Written as a size (`512MiB`), or as a number with a decimal point (`0.4`).
    """

    bytes: int = 0
    share: float | None = None

    def of(self, memory_bytes: int) -> int:
        """The bytes, on a machine with so much memory."""
        return self.bytes if self.share is None else int(self.share * memory_bytes)


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """What all TLS listeners have in common; PEM files by name.

    Without a `key` it is in the certificate's file. `certificate_name` says which of a client
    certificate's names is the user that logs in with EXTERNAL. Empty `ciphers` are Python's choice.
    """

    certificate: str = ""
    key: str = ""
    key_password: str = ""
    ca_certificates: str = ""
    client_certificates: Literal["none", "optional", "required"] = "none"
    certificate_name: Literal["common_name", "dns", "email", "uri"] = "common_name"
    mechanisms: tuple[Mechanism, ...] = ("PLAIN", "AMQPLAIN")
    version_min: Literal["1.2", "1.3"] = "1.2"
    ciphers: str = ""


class Permission(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user may do in one virtual host.

    Regular expressions on names; an empty one allows nothing.
    """

    configure: str = ""
    write: str = ""
    read: str = ""


class TopicPermission(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user may do with one topic exchange.

    Regular expressions on routing keys and binding keys; an empty one allows nothing.
    """

    write: str = ""
    read: str = ""


class User(Struct, frozen=True, forbid_unknown_fields=True):
    """One user, with either a password or a hash of one; with neither, only a certificate lets the
    user in (EXTERNAL).

    `permissions` goes from virtual host to what is allowed there; no entry means no access.
    `topic_permissions` goes from virtual host and exchange to what is allowed; no entry means no
    restriction. 0 means no limit.
    """

    name: str
    password: str | None = None
    password_hash: str | None = None
    tags: tuple[str, ...] = ()
    permissions: Mapping[str, Permission] = field(default_factory=dict)
    topic_permissions: Mapping[str, Mapping[str, TopicPermission]] = field(default_factory=dict)
    max_connections: Count = 0
    max_channels: Count = 0


class Vhost(Struct, frozen=True, forbid_unknown_fields=True):
    """One virtual host; 0 means no limit.

    `default_queue_type` is that of queues that are declared without one.
    """

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    default_queue_type: Literal["classic", "quorum"] = "classic"
    max_connections: Count = 0
    max_queues: Count = 0


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What the broker offers in connection.tune, and what it bears from clients."""

    frame_max: Annotated[
        int, Meta(ge=FRAME_SIZE_BYTES_MIN, le=FRAME_SIZE_BYTES_MAX, extra=SIZE)
    ] = 131_072
    channel_max: UInt16 = 2047
    heartbeat_s: UInt16 = 60
    handshake_timeout_s: Annotated[int, Meta(ge=1, le=3600)] = 10
    message_size_bytes_max: Annotated[int, Meta(ge=1, le=MESSAGE_SIZE_BYTES_CAP, extra=SIZE)] = (
        134_217_728
    )
    connections_max: Count = 0
    consumer_timeout_ms: Count = 0
    outbox_bytes_max: Annotated[int, Meta(ge=4096, le=1_073_741_824, extra=SIZE)] = 262_144


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """How durable messages are kept."""

    journal_file_size_bytes: Annotated[int, Meta(ge=65_536, le=4_294_967_296, extra=SIZE)] = (
        67_108_864
    )
    settle_delay_ms: Annotated[int, Meta(ge=0, le=60_000)] = 50
    journal_pending_bytes_max: Annotated[int, Meta(ge=65_536, le=4_294_967_296, extra=SIZE)] = (
        67_108_864
    )


class Memory(Struct, frozen=True, forbid_unknown_fields=True):
    """What messages may take in memory, and how much the process may take before publishers are
    blocked."""

    high_watermark: Annotated[Amount, Meta(extra={SHARE_MAX: 1})] = Amount(share=0.4)
    queue_bytes_max: Annotated[int, Meta(ge=1_048_576, le=1_099_511_627_776, extra=SIZE)] = (
        134_217_728
    )


class DeadLetters(Struct, frozen=True, forbid_unknown_fields=True):
    """How dead letters are made."""

    published_history: Literal["ignored", "believed"] = "ignored"


class Disk(Struct, frozen=True, forbid_unknown_fields=True):
    """How much the disk must still take, or publishers are blocked."""

    free_limit: Annotated[Amount, Meta(extra={SHARE_MAX: 100})] = Amount(50_000_000)


class Definitions(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of definitions, RabbitMQ's or ours, that every start imports; empty for none."""

    file: str = ""


class ServerProperties(Struct, frozen=True, forbid_unknown_fields=True):
    """What clients are told in connection.start.

    Celery and kombu choose their behaviour by `product` and `version`; hence the defaults.
    """

    product: str = "RabbitMQ"
    version: str = "3.13.7"
    cluster_name: str = "amqbroker"
    extra: Mapping[str, str] = field(default_factory=dict)


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged on standard error, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration. An empty `data_dir` leaves the choice to the command line.

    Without `users` and `vhosts`, the first start of a data folder makes `guest` and `/`; whom they
    name is what they say at every start.
    """

    listeners: tuple[Listener, ...] = (Listener("127.0.0.1"),)
    tls_listeners: tuple[TlsListener, ...] = ()
    tls: Tls = field(default_factory=Tls)
    data_dir: str = ""
    vhosts: tuple[Vhost, ...] = ()
    users: tuple[User, ...] = ()
    loopback_users: tuple[str, ...] = ("guest",)
    limits: Limits = field(default_factory=Limits)
    store: Store = field(default_factory=Store)
    memory: Memory = field(default_factory=Memory)
    dead_letters: DeadLetters = field(default_factory=DeadLetters)
    disk: Disk = field(default_factory=Disk)
    server_properties: ServerProperties = field(default_factory=ServerProperties)
    definitions: Definitions = field(default_factory=Definitions)
    log: Log = field(default_factory=Log)
