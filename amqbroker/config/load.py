"""From text to a `Config`, or to every problem of it at once.

Later sources win: the defaults, the file, the environment (`AMQBROKER_<SECTION>_<KEY>`), the
options. The types in `model` drive everything: which keys there are, what a value may be, what an
environment variable is called. What a type cannot say (regular expressions, names used twice) is
checked at the end of this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from msgspec import inspect

from amqbroker.config.hashes import check_hash
from amqbroker.config.model import (
    DEFAULT_PORT,
    DEFAULT_VHOST,
    EXTERNAL,
    SHARE_MAX,
    SIZE,
    Amount,
    Config,
    Listener,
    ListenerTable,
    Permission,
    TlsListener,
    TopicPermission,
    User,
)
from amqbroker.config.tree import (
    ENVIRONMENT_PREFIX,
    ConfigError,
    Leaf,
    Problem,
    Sequence,
    Table,
    Tree,
    from_options,
    from_yaml,
    merged,
)

_SIZE_UNITS: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_SHARE: Final = re.compile(r"[0-9]+\.[0-9]+")
_NUMBER: Final = re.compile(r"([+-]?[0-9][0-9_]*)\s*([A-Za-z]*)")
_HOST: Final = re.compile(r"\[(?P<ipv6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\s:\[\]/]+)")
# A pebibyte is more than any machine of ours has.
AMOUNT_BYTES_MAX: Final = 1 << 50
# A variable that nobody meant for us (Kubernetes sets AMQBROKER_PORT for a service of that name) is
# passed over, one that is so close to a known name is a mistake.
_ENVIRONMENT_LIKENESS: Final = 0.8
_NOT_BOTH: Final = "either password or password_hash is needed, not both"


def load(
    text: str = "",
    source: str = "",
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Config:
    """The configuration of a file's text, of environment variables and of options.

    `source` names the file in messages. `options` is shaped like the file: `{"log": {"level":
    "debug"}}`. Raises ConfigError, which carries every problem found.
    """
    problems: list[Problem] = []
    tree = _tree(text, source, environ or {}, options or {}, problems)
    checker = _Checker(problems)
    config = checker.value(inspect.type_info(Config), tree, "")
    if isinstance(config, Config):
        checker.check_names(config, tree)
    if problems or not isinstance(config, Config):
        raise ConfigError(problems)
    return config


def where_of(
    path: tuple[str, ...],
    text: str,
    source: str,
    environ: Mapping[str, str],
    options: Mapping[str, object],
) -> str:
    """Where the setting of this path was written, for problems that show only when it is used: the
    file's line, the variable or the option."""
    return _where(_tree(text, source, environ, options, []), *path)


def _tree(
    text: str,
    source: str,
    environ: Mapping[str, str],
    options: Mapping[str, object],
    problems: list[Problem],
) -> Tree:
    tree: Tree = from_yaml(text, source, problems) or Table(source)
    for name, value in environ.items():
        over = _from_environment(name, value, problems)
        if over is not None:
            tree = merged(tree, over)
    return merged(tree, from_options(options, "option")) if options else tree


def parse_listener(text: str, default_port: int = DEFAULT_PORT) -> Listener | None:
    """The address that `host:port`, `[ipv6]:port` or a host alone names, if it names one."""
    match = _HOST.match(text)
    if match is None:
        return None
    host = match["ipv6"] or match["name"]
    rest = text[match.end() :]
    if not rest:
        return Listener(host, default_port)
    port = rest[1:]
    if rest[0] != ":" or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        return None
    return Listener(host, int(port))


def environment_variables() -> dict[str, tuple[str, ...]]:
    """The name of every environment variable that is read, and the path of its key."""
    return {name: path for name, path, _ in _environment()}


def _environment() -> Iterator[tuple[str, tuple[str, ...], inspect.Type]]:
    root = inspect.type_info(Config)
    assert isinstance(root, inspect.StructType), root
    for section in root.fields:
        prefix = ENVIRONMENT_PREFIX + section.name.upper()
        if isinstance(section.type, inspect.StructType):
            for key in section.type.fields:
                yield f"{prefix}_{key.name.upper()}", (section.name, key.name), key.type
        else:
            yield prefix, (section.name,), section.type


def _from_environment(name: str, value: str, problems: list[Problem]) -> Tree | None:
    """The tree that one environment variable stands for, or None if it is not ours or empty."""
    if not name.startswith(ENVIRONMENT_PREFIX) or not value:
        return None
    known = {known: (path, kind) for known, path, kind in _environment()}
    if name not in known:
        words = {key.removeprefix(ENVIRONMENT_PREFIX): key for key in known}
        close = get_close_matches(
            name.removeprefix(ENVIRONMENT_PREFIX), words, 1, _ENVIRONMENT_LIKENESS
        )
        if close:
            problems.append(Problem(name, f"unknown variable; did you mean {words[close[0]]}?"))
        return None
    path, kind = known[name]
    tree = _environment_value(name, value, kind, problems)
    for key in reversed(path):
        table = Table(name)
        if tree is not None:
            table.put(key, name, tree)
        tree = table
    return tree


def _environment_value(
    name: str, value: str, kind: inspect.Type, problems: list[Problem]
) -> Tree | None:
    if isinstance(kind, inspect.VarTupleType) and not _has_keys(kind.item_type):
        words = [word.strip() for word in value.split(",")]
        return Sequence(name, [Leaf(name, word, word) for word in words if word])
    if isinstance(kind, inspect.VarTupleType | inspect.DictType):
        return from_yaml(value, name, problems)
    return Leaf(name, value, value)


def _has_keys(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.StructType) and not issubclass(kind.cls, Listener)


class _Checker:
    """Turns a tree into the values of a type, and collects what does not fit.

    A value that does not fit becomes None; its problem is in the list, so nobody uses it.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def value(self, kind: inspect.Type, tree: Tree, path: str) -> object:
        """The value of `tree` as `kind`; `path` is its name in messages."""
        extra: Mapping[str, object] = {}
        if isinstance(kind, inspect.Metadata):
            extra = kind.extra or {}
            kind = kind.type
        if isinstance(kind, inspect.StructType):
            if issubclass(kind.cls, Listener):
                return self._listener(kind.cls, tree, path)
            if issubclass(kind.cls, Amount):
                return self._amount(extra[SHARE_MAX], tree, path)
            return self._struct(kind, tree, path)
        if isinstance(kind, inspect.VarTupleType):
            return self._tuple(kind, tree, path)
        if isinstance(kind, inspect.DictType):
            return self._mapping(kind, tree, path)
        if isinstance(kind, inspect.IntType):
            return self._integer(kind, extra == SIZE, tree, path)
        if isinstance(kind, inspect.LiteralType):
            return self._choice(kind, tree, path)
        return self._text(kind, tree, path)

    def _struct(self, kind: inspect.StructType, tree: Tree, path: str) -> object:
        fields = {item.name: item for item in kind.fields}
        if isinstance(tree, Leaf) and tree.value is None:
            tree = Table(tree.where)  # `limits:` with nothing below it
        if not isinstance(tree, Table):
            self._wrong(tree, path, f"a table with the keys {', '.join(fields)} is needed")
            return None
        count = len(self._problems)
        values: dict[str, object] = {}
        for key, item in tree.items.items():
            if key in fields:
                values[key] = self.value(fields[key].type, item, f"{path}.{key}" if path else key)
            else:
                self._unknown_key(key, tree.key_where[key], path, list(fields))
        for name, item_field in fields.items():
            if item_field.required and name not in values:
                self._add(tree.where, path, f"the key {name!r} is missing")
        if len(self._problems) > count:
            return None
        made: object = kind.cls(**values)
        if isinstance(made, User):
            self._check_user(made, tree, path)
        elif isinstance(made, Permission | TopicPermission):
            self._check_permission(made, tree, path)
        return made

    def _tuple(self, kind: inspect.VarTupleType, tree: Tree, path: str) -> object:
        if not isinstance(tree, Sequence):
            self._wrong(
                tree, path, "a list ([one, two], or one item a line behind a dash) is needed"
            )
            return None
        return tuple(
            self.value(kind.item_type, item, f"{path}[{i}]") for i, item in enumerate(tree.items)
        )

    def _mapping(self, kind: inspect.DictType, tree: Tree, path: str) -> object:
        if not isinstance(tree, Table):
            self._wrong(tree, path, "a table (one `name: value` a line) is needed")
            return None
        return {
            key: self.value(kind.value_type, item, f"{path}[{key!r}]")
            for key, item in tree.items.items()
        }

    def _integer(self, kind: inspect.IntType, is_size: bool, tree: Tree, path: str) -> object:
        low, high = kind.ge, kind.le
        assert low is not None, path
        assert high is not None, path
        unit = " (bytes, or a size such as 64MiB)" if is_size else ""
        needed = f"a whole number from {low} to {high}{unit} is needed"
        value = _integer_of(tree, is_size) if isinstance(tree, Leaf) else None
        if value is None or not low <= value <= high:
            self._wrong(tree, path, needed)
            return None
        return value

    def _amount(self, share_max: object, tree: Tree, path: str) -> object:
        assert isinstance(share_max, int), path
        if isinstance(tree, Leaf):
            size = _integer_of(tree, is_size=True)
            if size is not None and 0 <= size <= AMOUNT_BYTES_MAX:
                return Amount(size)
            share = _share_of(tree)
            if share is not None and share <= share_max:
                return Amount(share=share)
        self._wrong(
            tree,
            path,
            "bytes, a size such as 512MiB, or a share of the machine's memory "
            f"from 0.0 to {share_max}.0 is needed",
        )
        return None

    def _choice(self, kind: inspect.LiteralType, tree: Tree, path: str) -> object:
        words = [str(word) for word in kind.values]
        text = tree.text if isinstance(tree, Leaf) else None
        for word in words:
            if text is not None and text.lower() == word.lower():
                return word
        hint = _did_you_mean(text or "", words)
        self._wrong(tree, path, f"one of {', '.join(words)} is needed", hint)
        return None

    def _text(self, kind: inspect.Type, tree: Tree, path: str) -> object:
        if isinstance(tree, Leaf):
            if tree.text is not None:
                return tree.text
            if tree.value is None and isinstance(kind, inspect.UnionType):
                return None
        self._wrong(tree, path, "a text is needed")
        return None

    def _listener(self, kind: type[Listener], tree: Tree, path: str) -> object:
        made = ListenerTable("")
        if isinstance(tree, Table):
            shape = inspect.type_info(ListenerTable)
            assert isinstance(shape, inspect.StructType), shape
            table = self._struct(shape, tree, path)
            if not isinstance(table, ListenerTable):
                return None
            made, tree, path = table, tree.items["address"], f"{path}.address"
        text = tree.text if isinstance(tree, Leaf) else None
        port = TlsListener("").port if kind is TlsListener else DEFAULT_PORT
        listener = parse_listener(text, port) if text is not None else None
        if listener is None:
            examples = f"127.0.0.1:{port}, 0.0.0.0:{port} or [::1]:{port}"
            self._wrong(tree, path, f"host:port (such as {examples}) is needed")
            return None
        return kind(listener.host, listener.port, made.mechanisms)

    def _check_user(self, user: User, table: Table, path: str) -> None:
        if user.password is not None and user.password_hash is not None:
            self._add(table.where, path, _NOT_BOTH)
        elif user.password_hash is not None:
            try:
                check_hash(user.password_hash)
            except ValueError as error:
                where = table.key_where["password_hash"]
                self._add(where, f"{path}.password_hash", str(error))

    def _check_permission(
        self, permission: Permission | TopicPermission, table: Table, path: str
    ) -> None:
        for key in table.items:
            try:
                re.compile(str(getattr(permission, key)))
            except (re.error, OverflowError, RecursionError) as error:
                self._add(
                    table.key_where[key], f"{path}.{key}", f"not a regular expression: {error}"
                )

    def check_names(self, config: Config, tree: Tree) -> None:
        """Names that must be unique, and names that must be known."""
        vhosts = [vhost.name for vhost in config.vhosts]
        self._check_unique("vhosts", vhosts, tree)
        vhosts = vhosts or [DEFAULT_VHOST]
        self._check_unique("users", [user.name for user in config.users], tree)
        self._check_listeners(config, tree)
        if config.tls_listeners:
            self._check_tls(config, tree)
        for i, user in enumerate(config.users):
            if user.password is None and user.password_hash is None and not _by_certificate(config):
                self._add(_where(tree, "users", i), f"users[{i}]", _NOT_BOTH)
            for key in ("permissions", "topic_permissions"):
                for vhost in getattr(user, key):
                    if vhost not in vhosts:
                        self._add(
                            _where(tree, "users", i, key, vhost),
                            f"users[{i}].{key}",
                            f"there is no virtual host {vhost!r}{_did_you_mean(vhost, vhosts)}",
                        )

    def _check_listeners(self, config: Config, tree: Tree) -> None:
        plain = [str(item) for item in config.listeners if item.port]
        self._check_unique("listeners", plain, tree)
        for i, item in enumerate(config.tls_listeners):
            others = [*config.listeners, *config.tls_listeners[:i]]
            if item.port and str(item) in map(str, others):
                where = _where(tree, "tls_listeners", i)
                self._add(where, f"tls_listeners[{i}]", f"{str(item)!r} is there twice")
        for i, plain_item in enumerate(config.listeners):
            if EXTERNAL in plain_item.mechanisms:
                self._add(
                    _where(tree, "listeners", i, "mechanisms"),
                    f"listeners[{i}].mechanisms",
                    "EXTERNAL goes by a client's certificate: it is only for tls_listeners",
                )

    def _check_tls(self, config: Config, tree: Tree) -> None:
        tls = config.tls
        if not tls.certificate:
            self._add(
                _where(tree, "tls", "certificate"),
                "tls.certificate",
                "tls_listeners need the name of a PEM file with the broker's certificate",
            )
        if tls.client_certificates != "none" and not tls.ca_certificates:
            self._add(
                _where(tree, "tls", "client_certificates"),
                "tls.ca_certificates",
                "the name of a PEM file is needed, with the authorities of client certificates",
            )
        for i, item in enumerate(config.tls_listeners):
            mechanisms = item.mechanisms or tls.mechanisms
            path, where = "tls.mechanisms", _where(tree, "tls", "mechanisms")
            if item.mechanisms:
                path = f"tls_listeners[{i}].mechanisms"
                where = _where(tree, "tls_listeners", i, "mechanisms")
            if not mechanisms:
                self._add(where, path, "without a mechanism nobody can log in")
            elif EXTERNAL in mechanisms and tls.client_certificates == "none":
                self._add(
                    where,
                    path,
                    "EXTERNAL goes by a client's certificate: "
                    "tls.client_certificates: optional (or required) is needed",
                )
            elif set(mechanisms) == {EXTERNAL} and tls.client_certificates != "required":
                self._add(
                    where,
                    path,
                    "EXTERNAL alone shuts out clients without a certificate: "
                    "tls.client_certificates: required is needed",
                )

    def _check_unique(self, key: str, names: list[str], tree: Tree) -> None:
        for i, name in enumerate(names):
            if name in names[:i]:
                self._add(_where(tree, key, i), f"{key}[{i}]", f"{name!r} is there twice")

    def _unknown_key(self, key: str, where: str, path: str, known: list[str]) -> None:
        hint = _did_you_mean(key, known) or f"; the keys here are {', '.join(known)}"
        self._add(where, path, f"unknown key {key!r}{hint}")

    def _wrong(self, tree: Tree, path: str, needed: str, hint: str = "") -> None:
        self._add(tree.where, path, f"{needed}, not {_shown(tree)}{hint}")

    def _add(self, where: str, path: str, text: str) -> None:
        self._problems.append(Problem(where, f"{path}: {text}" if path else text))


def _by_certificate(config: Config) -> bool:
    """Whether anybody can log in without a password."""
    return any(
        EXTERNAL in (item.mechanisms or config.tls.mechanisms) for item in config.tls_listeners
    )


def _integer_of(leaf: Leaf, is_size: bool) -> int | None:
    if isinstance(leaf.value, int) and not isinstance(leaf.value, bool) and leaf.text is None:
        return leaf.value
    match = _NUMBER.fullmatch(leaf.text or "")
    if match is None:
        return None
    unit = match[2].lower()
    if unit not in _SIZE_UNITS or (unit and not is_size):
        return None
    return int(match[1]) * _SIZE_UNITS[unit]


def _share_of(leaf: Leaf) -> float | None:
    """A number with a decimal point."""
    if isinstance(leaf.value, float) and leaf.text is None:
        return leaf.value if leaf.value >= 0 else None
    return float(leaf.text) if leaf.text and _SHARE.fullmatch(leaf.text) else None


def _did_you_mean(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _shown(tree: Tree) -> str:
    if isinstance(tree, Sequence):
        return "a list"
    if isinstance(tree, Table):
        return "a table"
    if tree.value is None:
        return "nothing"
    return repr(tree.text if tree.text is not None else tree.value)


def _where(tree: Tree, *path: str | int) -> str:
    """Where the value at `path` stands, or the nearest thing around it that was written."""
    where = tree.where
    for step in path:
        if isinstance(tree, Table) and isinstance(step, str) and step in tree.items:
            where, tree = tree.key_where[step], tree.items[step]
        elif isinstance(tree, Sequence) and isinstance(step, int) and step < len(tree.items):
            tree = tree.items[step]
            where = tree.where
        else:
            break
    return where
