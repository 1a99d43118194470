"""The marks of the conformance tests.

`fact` ties a test to the numbers of `docs/COMPATIBILITY.md`. `not_yet` says what ours still lacks
for a test: it is expected to fail, and to lose the mark as soon as it passes.
`differs_on_reference` says why a test cannot pass on the RabbitMQ release the folder is checked
against, and skips it there and only there.
"""

from __future__ import annotations

import pytest


def fact(*numbers: int) -> pytest.MarkDecorator:
    """Mark a test as proof of these facts."""
    return pytest.mark.fact(*numbers)


def not_yet(what: str) -> pytest.MarkDecorator:
    """Expect a test to fail, but on the reference, for want of this."""
    return pytest.mark.not_yet(what)


def differs_on_reference(why: str) -> pytest.MarkDecorator:
    """Skip a test when the folder runs over a socket against RabbitMQ, for the reason given."""
    return pytest.mark.differs_on_reference(why)
