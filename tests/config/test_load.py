"""What is accepted, what each source wins over, and what a mistake is told."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.auth.passwords import hash_password, rabbit_hash
from amqbroker.config import (
    Amount,
    Config,
    ConfigError,
    Listener,
    TlsListener,
    environment_variables,
    load,
    parse_listener,
    where_of,
)


def problems(
    text: str = "",
    environ: dict[str, str] | None = None,
    options: dict[str, object] | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, "f.yaml", environ, options)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def test_no_configuration_at_all_is_the_defaults() -> None:
    assert load() == Config()
    assert load("limits:\nlog: {}\n") == Config()


def test_a_file_changes_what_it_names() -> None:
    config = load(
        """
        listeners: ["[::1]:5673", 10.0.0.1]
        limits: {frame_max: 4096, message_size_bytes_max: 1 MiB, outbox_bytes_max: "8kB"}
        vhosts: [{name: /}, {name: test, max_queues: 5}]
        users:
          - name: ann
            password: 12345
            permissions: {test: {read: "^a"}}
        """
    )
    assert config.listeners == (Listener("::1", 5673), Listener("10.0.0.1", 5672))
    assert config.limits.frame_max == 4096
    assert config.limits.message_size_bytes_max == 1_048_576
    assert config.limits.outbox_bytes_max == 8000
    assert config.limits.channel_max == Config().limits.channel_max
    assert config.vhosts[1].max_queues == 5
    (ann,) = config.users
    assert (ann.password, ann.password_hash) == ("12345", None)
    assert ann.permissions["test"].read == "^a"
    assert ann.permissions["test"].write == ""


def test_texts_may_look_like_numbers() -> None:
    assert load("server_properties: {version: 3.10}").server_properties.version == "3.10"


def test_environment_wins_over_the_file_and_options_win_over_both() -> None:
    text = "log: {level: error, format: json}\nlimits: {heartbeat_s: 1, channel_max: 1}\n"
    environ = {"AMQBROKER_LOG_LEVEL": "warning", "AMQBROKER_LIMITS_HEARTBEAT_S": "2"}
    config = load(text, "f.yaml", environ, {"log": {"level": "debug"}})
    assert (config.log.level, config.log.format) == ("debug", "json")
    assert (config.limits.heartbeat_s, config.limits.channel_max) == (2, 1)


def test_environment_takes_lists_and_yaml() -> None:
    environ = {
        "AMQBROKER_LISTENERS": "[::1]:5672, 0.0.0.0:5673",
        "AMQBROKER_LOOPBACK_USERS": "a,b",
        "AMQBROKER_VHOSTS": "[{name: /}, {name: test}]",
        "AMQBROKER_SERVER_PROPERTIES_EXTRA": "{site: east}",
        "AMQBROKER_STORE_JOURNAL_FILE_SIZE_BYTES": "1MiB",
        "AMQBROKER_DATA_DIR": "",
    }
    config = load("data_dir: /x", "f.yaml", environ)
    assert config.listeners == (Listener("::1", 5672), Listener("0.0.0.0", 5673))
    assert config.loopback_users == ("a", "b")
    assert [vhost.name for vhost in config.vhosts] == ["/", "test"]
    assert config.server_properties.extra == {"site": "east"}
    assert config.store.journal_file_size_bytes == 1_048_576
    assert config.data_dir == "/x"


def test_every_key_has_its_variable() -> None:
    names = environment_variables()
    assert names["AMQBROKER_LOG_LEVEL"] == ("log", "level")
    assert names["AMQBROKER_DATA_DIR"] == ("data_dir",)
    assert "AMQBROKER_LOG" not in names


def test_variables_of_others_are_passed_over_and_misspelt_ones_are_not() -> None:
    assert load(environ={"AMQBROKER_PORT": "tcp://10.0.0.1:5672", "HOME": "/x"}) == Config()
    assert problems(environ={"AMQBROKER_LOG_LEVL": "debug"}) == [
        "AMQBROKER_LOG_LEVL: unknown variable; did you mean AMQBROKER_LOG_LEVEL?"
    ]


def test_every_problem_is_told_at_once() -> None:
    text = "listners: [a]\nlimits:\n  frame_maks: 1\n  heartbeat_s: 60s\nstore: 1\n"
    assert problems(text, {"AMQBROKER_LOG_FORMAT": "xml"}) == [
        "f.yaml:1: unknown key 'listners'; did you mean 'listeners'?",
        "f.yaml:3: limits: unknown key 'frame_maks'; did you mean 'frame_max'?",
        "f.yaml:4: limits.heartbeat_s: a whole number from 0 to 65535 is needed, not '60s'",
        "f.yaml:5: store: a table with the keys journal_file_size_bytes, settle_delay_ms,"
        " journal_pending_bytes_max is needed, not '1'",
        "AMQBROKER_LOG_FORMAT: log.format: one of json, text is needed, not 'xml'",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "limits: {frame_max: 100}",
            "limits.frame_max: a whole number from 4096 to 134217728"
            " (bytes, or a size such as 64MiB) is needed, not '100'",
        ),
        (
            "limits: {heartbeat_s: yes}",
            "limits.heartbeat_s: a whole number from 0 to 65535 is needed, not 'yes'",
        ),
        (
            "limits: {heartbeat_s: 1kB}",
            "limits.heartbeat_s: a whole number from 0 to 65535 is needed, not '1kB'",
        ),
        (
            "log: {level: warn}",
            "log.level: one of debug, error, info, warning is needed, not 'warn';"
            " did you mean 'warning'?",
        ),
        ("data_dir:", "data_dir: a text is needed, not nothing"),
        ("data_dir: [a]", "data_dir: a text is needed, not a list"),
        (
            "loopback_users: guest",
            "loopback_users: a list ([one, two], or one item a line behind a dash) is needed,"
            " not 'guest'",
        ),
        (
            "server_properties: {extra: [a]}",
            "server_properties.extra: a table (one `name: value` a line) is needed, not a list",
        ),
        (
            'listeners: [":5672"]',
            "listeners[0]: host:port (such as 127.0.0.1:5672, 0.0.0.0:5672 or [::1]:5672)"
            " is needed, not ':5672'",
        ),
        ("listeners: [a:1, a:1]", "listeners[1]: 'a:1' is there twice"),
        ("vhosts: [{max_queues: 1}]", "vhosts[0]: the key 'name' is missing"),
        ("vhosts: [{name: /}, {name: /}]", "vhosts[1]: '/' is there twice"),
        (
            "users: [{name: a}]",
            "users[0]: either password or password_hash is needed, not both",
        ),
        (
            "users: [{name: a, password_hash: AAAA}]",
            "users[0].password_hash: no password hash:"
            " RabbitMQ's (base64 of 20, 36 or 68 bytes) or $argon2id$... is needed",
        ),
        (
            "users: [{name: a, password: b, permissions: {/: {read: '['}}}]",
            "users[0].permissions['/'].read: not a regular expression:"
            " unterminated character set at position 0",
        ),
        (
            "vhosts: [{name: prod}]\nusers: [{name: a, password: b, permissions: {prd: {}}}]",
            "users[0].permissions: there is no virtual host 'prd'; did you mean 'prod'?",
        ),
        (
            "users: [{name: a, password: b, topic_permissions: {prod: {x: {write: a}}}}]",
            "users[0].topic_permissions: there is no virtual host 'prod'",
        ),
        (
            "users: [{name: a, password: b, topic_permissions: {/: {x: {write: '*'}}}}]",
            "users[0].topic_permissions['/']['x'].write: not a regular expression:"
            " nothing to repeat at position 0",
        ),
        (
            "vhosts: [{name: /, default_queue_type: stream}]",
            "vhosts[0].default_queue_type: one of classic, quorum is needed, not 'stream'",
        ),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(text: str, problem: str) -> None:
    line = text.count("\n") + 1
    assert problems(text) == [f"f.yaml:{line}: {problem}"]


def test_a_file_that_is_no_table_is_one_problem() -> None:
    (problem,) = problems("- a\n")
    assert problem.startswith("f.yaml:1: a table with the keys listeners, ")


def test_options_are_checked_like_a_file() -> None:
    assert problems(options={"limits": {"channel_max": -1}}) == [
        "option: limits.channel_max: a whole number from 0 to 65535 is needed, not -1"
    ]
    assert problems(options={"limits": {"channel_max": True}}) == [
        "option: limits.channel_max: a whole number from 0 to 65535 is needed, not True"
    ]


@pytest.mark.parametrize(
    "password_hash",
    [
        rabbit_hash(b"secret", b"salt"),
        b64encode(bytes(20)).decode(),
        b64encode(bytes(68)).decode(),
        hash_password(b"secret", b"0123456789abcdef"),
    ],
)
def test_every_kind_of_password_hash_are_accepted(password_hash: str) -> None:
    config = load(f"users: [{{name: a, password_hash: '{password_hash}'}}]")
    assert config.users[0].password_hash == password_hash


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("127.0.0.1:1", Listener("127.0.0.1", 1)),
        ("localhost", Listener("localhost", 5672)),
        ("[fe80::1%eth0]:0", Listener("fe80::1%eth0", 0)),
        ("[::]", Listener("::", 5672)),
        ("::1", None),
        ("a:65536", None),
        ("a:", None),
        ("a:1:2", None),
        ("a:٣", None),
        ("", None),
    ],
)
def test_listeners_are_read(text: str, listener: Listener | None) -> None:
    assert parse_listener(text) == listener


@given(st.text(alphabet="abelnimtsuro_: \n-[]{},&*!'\"0123/#|", max_size=60))
def test_no_text_does_worse_than_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(load(text, "f.yaml"), Config)


CERTIFICATE = "tls: {certificate: a.pem"
WITH_TLS = "tls_listeners: [localhost]\n" + CERTIFICATE


def test_tls_listeners_are_read() -> None:
    config = load(
        """
        listeners: [{address: "10.0.0.1", mechanisms: [plain]}]
        tls_listeners: [0.0.0.0, "[::]:5673", {address: "a:1", mechanisms: [EXTERNAL, PLAIN]}]
        tls: {certificate: a.pem, ca_certificates: b.pem, client_certificates: optional,
              version_min: 1.3}
        users: [{name: ann}]
        """,
        environ={"AMQBROKER_TLS_KEY": "a.key", "AMQBROKER_TLS_MECHANISMS": "amqplain,PLAIN"},
    )
    assert config.listeners == (Listener("10.0.0.1", 5672, ("PLAIN",)),)
    assert config.tls_listeners == (
        TlsListener("0.0.0.0", 5671),
        TlsListener("::", 5673),
        TlsListener("a", 1, ("EXTERNAL", "PLAIN")),
    )
    assert config.tls.key == "a.key"
    assert config.tls.version_min == "1.3"
    assert config.tls.mechanisms == ("AMQPLAIN", "PLAIN")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "tls_listeners: [localhost]",
            "tls.certificate: tls_listeners need the name of a PEM file with the broker's"
            " certificate",
        ),
        (
            'tls_listeners: [":1"]',
            "tls_listeners[0]: host:port (such as 127.0.0.1:5671, 0.0.0.0:5671 or [::1]:5671)"
            " is needed, not ':1'",
        ),
        (
            "tls_listeners: [{address: [a]}]",
            "tls_listeners[0].address: a text is needed, not a list",
        ),
        (
            "tls_listeners: [{address: 'a:b'}]",
            "tls_listeners[0].address: host:port (such as 127.0.0.1:5671, 0.0.0.0:5671 or"
            " [::1]:5671) is needed, not 'a:b'",
        ),
        (
            "listeners: [{mechanisms: [PLAIN]}]",
            "listeners[0]: the key 'address' is missing",
        ),
        (
            "listeners: [{address: a, mechanisms: [PLAYN]}]",
            "listeners[0].mechanisms[0]: one of AMQPLAIN, EXTERNAL, PLAIN is needed, not 'PLAYN';"
            " did you mean 'PLAIN'?",
        ),
        (
            "listeners: [{address: a, mechanisms: [EXTERNAL]}]",
            "listeners[0].mechanisms: EXTERNAL goes by a client's certificate: it is only for"
            " tls_listeners",
        ),
        (
            WITH_TLS + ", mechanisms: [EXTERNAL]}",
            "tls.mechanisms: EXTERNAL goes by a client's certificate: tls.client_certificates:"
            " optional (or required) is needed",
        ),
        (
            WITH_TLS + ", mechanisms: [EXTERNAL], client_certificates: optional,"
            " ca_certificates: b.pem}",
            "tls.mechanisms: EXTERNAL alone shuts out clients without a certificate:"
            " tls.client_certificates: required is needed",
        ),
        (
            CERTIFICATE + "}\ntls_listeners: [{address: a, mechanisms: [EXTERNAL]}]",
            "tls_listeners[0].mechanisms: EXTERNAL goes by a client's certificate:"
            " tls.client_certificates: optional (or required) is needed",
        ),
        (WITH_TLS + ", mechanisms: []}", "tls.mechanisms: without a mechanism nobody can log in"),
        (
            WITH_TLS + ", client_certificates: required}",
            "tls.ca_certificates: the name of a PEM file is needed, with the authorities of"
            " client certificates",
        ),
        (
            WITH_TLS + ", client_certificates: yes}",
            "tls.client_certificates: one of none, optional, required is needed, not 'yes'",
        ),
        (
            WITH_TLS + "}\nlisteners: [a:1]\ntls_listeners: [a:1]",
            "'tls_listeners' is there twice; first at f.yaml:1",
        ),
        (
            CERTIFICATE + "}\nlisteners: [a:1]\ntls_listeners: [a:1]",
            "tls_listeners[0]: 'a:1' is there twice",
        ),
        (
            WITH_TLS + "}\nusers: [{name: ann}]",
            "users[0]: either password or password_hash is needed, not both",
        ),
    ],
)
def test_a_mistake_with_tls_is_told_with_what_would_be_right(text: str, problem: str) -> None:
    line = text.count("\n") + 1
    assert problems(text) == [f"f.yaml:{line}: {problem}"]


def test_where_a_setting_was_written() -> None:
    text = "log: {}\ntls:\n  certificate: a.pem\n  key: a.key\n"
    environ = {"AMQBROKER_TLS_CIPHERS": "x"}
    options = {"tls": {"ca_certificates": "b"}}

    def where(key: str) -> str:
        return where_of(("tls", key), text, "f.yaml", environ, options)

    assert where("certificate") == "f.yaml:3"
    assert where("key") == "f.yaml:4"
    assert where("ciphers") == "AMQBROKER_TLS_CIPHERS"
    assert where("ca_certificates") == "option"


# Amounts.


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0.4", Amount(share=0.4)),
        ("1.0", Amount(share=1.0)),
        ("0", Amount(0)),
        ("512MiB", Amount(512 * 1024**2)),
        ("50MB", Amount(50_000_000)),
        ("1073741824", Amount(1 << 30)),
    ],
)
def test_amounts_are_sizes_or_shares(text: str, amount: Amount) -> None:
    assert load(f"memory:\n  high_watermark: {text}\n", "f").memory.high_watermark == amount
    environ = {"AMQBROKER_MEMORY_HIGH_WATERMARK": text}
    assert load("", "f", environ).memory.high_watermark == amount


def test_amounts_as_options() -> None:
    config = load(options={"memory": {"high_watermark": 0.5}, "disk": {"free_limit": 7}})
    assert config.memory.high_watermark == Amount(share=0.5)
    assert config.disk.free_limit == Amount(7)


@pytest.mark.parametrize("text", ["1.1", "-0.4", "-1", "lots", "40%", "[]", "", "2000000GiB"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"memory:\n  high_watermark: {text}\n", "f")
    assert (
        "f:2: memory.high_watermark: bytes, a size such as 512MiB, or a share of the machine's "
        "memory from 0.0 to 1.0 is needed, not "
    ) in str(caught.value)


def test_the_disk_may_be_larger_than_memory() -> None:
    assert load("disk: {free_limit: 2.5}").disk.free_limit == Amount(share=2.5)
    with pytest.raises(ConfigError, match=r"from 0\.0 to 100\.0"):
        load("disk: {free_limit: 100.5}")
