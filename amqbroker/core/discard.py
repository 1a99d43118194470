"""Why a message leaves its queue without having been acknowledged."""

from __future__ import annotations

from typing import Final

EXPIRED: Final = 0
MAXLEN: Final = 1
REJECTED: Final = 2
DELIVERY_LIMIT: Final = 3
