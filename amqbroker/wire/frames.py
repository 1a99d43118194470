"""Numbers of the AMQP 0-9-1 framing layer.

    octet   short     long   payload            octet
    +------+---------+------+------------------+------+
    | type | channel | size | size octets      | 0xCE |
    +------+---------+------+------------------+------+

Source: AMQP 0-9-1 section 4.2.3; RabbitMQ's `rabbit_command_assembler` and `rabbit_reader` for the
limits.
"""

from __future__ import annotations

from typing import Final

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
END: Final = 0xCE

# Type, channel and size before the payload; with the end octet it is 8 octets that are not payload.
PREFIX_SIZE: Final = 7
OVERHEAD: Final = 8

# RabbitMQ forgives clients that count frame_max without the overhead.
SIZE_LENIENCY: Final = 8

FRAME_SIZE_MIN: Final = 4096
BODY_SIZE_MAX: Final = 512 * 1024 * 1024

CONNECTION_CLOSE: Final = 10 << 16 | 50
CONNECTION_CLOSE_OK: Final = 10 << 16 | 51

CLASS_BASIC: Final = 60
BASIC_PUBLISH: Final = 60 << 16 | 40
BASIC_RETURN: Final = 60 << 16 | 50
BASIC_DELIVER: Final = 60 << 16 | 60
BASIC_GET_OK: Final = 60 << 16 | 71
BASIC_ACK: Final = 60 << 16 | 80
BASIC_NACK: Final = 60 << 16 | 120

HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
