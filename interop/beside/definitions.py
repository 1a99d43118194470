"""Users, virtual hosts, permissions, policies and limits that scenarios count on, for both brokers.

The form is that of RabbitMQ's definition files. A user's password is the user's name.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

#: user → permissions in the virtual host `/`: configure, write, read.
USERS: Final = {
    "guest": (".*", ".*", ".*"),
    "reader": ("", "", ".*"),
    "writer": ("", ".*", ""),
    "configurer": (".*", "", ""),
    "mine": (r"\.mine-", r"\.mine-|^amq\.default$", r"\.mine-"),
    "topical": (".*", ".*", ".*"),
    "stranger": None,
    "one-channel": (".*", ".*", ".*"),
    "one-connection": (".*", ".*", ".*"),
    "impersonator": (".*", ".*", ".*"),
}
TAGS: Final = {"guest": "administrator", "impersonator": "impersonator"}
LIMITS: Final = {"one-channel": {"max-channels": 1}, "one-connection": {"max-connections": 1}}

#: A virtual host that only guest may enter, and one with room for little.
VHOSTS: Final = {"beside-other": {}, "beside-small": {"max-queues": 2, "max-connections": 2}}

#: name of a policy and end of the names that it is for → (priority, definition)
POLICIES: Final[dict[str, tuple[int, dict[str, Any]]]] = {
    "policy-ttl": (0, {"message-ttl": 50}),
    "policy-expires": (0, {"expires": 200}),
    "policy-length": (0, {"max-length": 2}),
    "policy-bytes": (0, {"max-length-bytes": 10}),
    "policy-reject": (0, {"max-length": 1, "overflow": "reject-publish"}),
    "policy-dead": (0, {"dead-letter-exchange": "", "dead-letter-routing-key": "beside-dead"}),
    "policy-alternate": (0, {"alternate-exchange": "amq.fanout"}),
}


def definitions() -> dict[str, Any]:
    """The definition file, as what is in it."""
    return {
        "vhosts": [{"name": name} for name in ("/", *VHOSTS)],
        "users": [
            {
                "name": name,
                "password_hash": _hash(name),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": TAGS.get(name, ""),
                "limits": LIMITS.get(name, {}),
            }
            for name in USERS
        ],
        "permissions": [
            {"user": user, "vhost": vhost, "configure": allowed[0], "write": allowed[1]}
            | {"read": allowed[2]}
            for user, allowed in USERS.items()
            if allowed is not None
            for vhost in (("/", *VHOSTS) if user == "guest" else ("/",))
        ],
        "topic_permissions": [
            {
                "user": "topical",
                "vhost": "/",
                "exchange": "amq.topic",
                "write": r"^{username}\.",
                "read": r"^{vhost}|^free\.",
            }
        ],
        "policies": [
            {
                "vhost": "/",
                "name": f"beside-{name}",
                "pattern": rf"\.{name}$",
                "apply-to": "all",
                "priority": priority,
                "definition": definition,
            }
            for name, (priority, definition) in POLICIES.items()
        ],
        "parameters": [
            {"vhost": name, "component": "vhost-limits", "name": "limits", "value": limits}
            for name, limits in VHOSTS.items()
            if limits
        ],
        "global_parameters": [],
        "queues": [],
        "exchanges": [],
        "bindings": [],
    }


def _hash(password: str) -> str:
    salt = b"salt"
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()
