"""Reply codes: which of them close a channel, and texts that fit into a short string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqbroker import errors
from amqbroker.errors import (
    REPLY_NAMES,
    REPLY_TEXT_BYTES_MAX,
    AmqpError,
    ChannelException,
    ConnectionException,
    reply_text,
)

SOFT = {311, 312, 313, 403, 404, 405, 406}


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (errors.access_refused, 403),
        (errors.not_found, 404),
        (errors.resource_locked, 405),
        (errors.precondition_failed, 406),
        (errors.frame_error, 501),
        (errors.syntax_error, 502),
        (errors.command_invalid, 503),
        (errors.channel_error, 504),
        (errors.unexpected_frame, 505),
        (errors.not_allowed, 530),
        (errors.not_implemented, 540),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else value.__name__,
)
def test_the_code_decides_what_is_closed(make: type[AmqpError], code: int) -> None:
    error = make("because")  # type: ignore[call-arg, arg-type]
    assert error.code == code
    assert isinstance(error, ChannelException if code in SOFT else ConnectionException)
    assert error.reply_text == f"{REPLY_NAMES[code]} - because"
    assert (error.class_id, error.method_id) == (0, 0)


def test_every_code_has_a_name() -> None:
    codes = {
        value
        for name, value in vars(errors).items()
        if name.isupper() and isinstance(value, int) and value > errors.REPLY_TEXT_BYTES_MAX
    }
    assert codes == set(REPLY_NAMES)


@given(st.sampled_from(sorted(REPLY_NAMES)), st.text(max_size=300))
def test_a_text_fits_and_is_whole_characters(code: int, explanation: str) -> None:
    text = reply_text(code, explanation)
    raw = text.encode()
    assert len(raw) <= REPLY_TEXT_BYTES_MAX
    whole = f"{REPLY_NAMES[code]} - {explanation}".encode(errors="replace").decode()
    if len(whole.encode()) <= REPLY_TEXT_BYTES_MAX:
        assert text == whole
    else:
        assert text.endswith("...")
        assert whole.startswith(text[:-3])
        assert len(raw) >= REPLY_TEXT_BYTES_MAX - 3


def test_a_text_is_cut_with_three_dots() -> None:
    text = reply_text(errors.NOT_FOUND, "x" * 300)
    assert text == "NOT_FOUND - " + "x" * 240 + "..."
    assert reply_text(errors.NOT_FOUND, "x" * 243) == "NOT_FOUND - " + "x" * 243


def test_octets_that_are_no_text_show_as_question_marks() -> None:
    bad = b"a\xffb".decode("utf-8", "surrogateescape")
    assert reply_text(errors.NOT_FOUND, f"no exchange '{bad}'") == "NOT_FOUND - no exchange 'a?b'"


def test_a_disk_error_is_nobodys_fault_here() -> None:
    assert not issubclass(errors.DiskError, AmqpError)
