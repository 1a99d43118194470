"""Names and dates in certificates."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from amqbroker.auth.certificates import name_in, validity_of

# What getpeercert() returns.
CERTIFICATE: dict[str, object] = {
    "subject": (
        (("organizationName", "Example"),),
        (("commonName", "clients"),),
        (("commonName", "ann"), ("emailAddress", "other@example.org")),
    ),
    "subjectAltName": (
        ("DNS", "ann.example.org"),
        ("DNS", "other.example.org"),
        ("email", "ann@example.org"),
        ("URI", "spiffe://example.org/ann"),
    ),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("common_name", "ann"),
        ("dns", "ann.example.org"),
        ("email", "ann@example.org"),
        ("uri", "spiffe://example.org/ann"),
    ],
)
def test_the_name_of_each_kind(kind: str, name: str) -> None:
    assert name_in(CERTIFICATE, kind) == name
    assert name_in({}, kind) == ""
    assert name_in({"subject": (), "subjectAltName": ()}, kind) == ""


def der_of(since: datetime, until: datetime) -> bytes:
    leaf = trustme.CA().issue_cert("localhost", not_before=since, not_after=until)
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC)),
        (datetime(1950, 1, 1, tzinfo=UTC), datetime(2049, 12, 31, tzinfo=UTC)),
        # From 2050 on, years have four digits.
        (datetime(2020, 2, 29, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)),
    ],
)
def test_dates(since: datetime, until: datetime) -> None:
    assert validity_of(der_of(since, until)) == (since, until)


WHOLE = der_of(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))


@given(st.binary(max_size=100) | st.integers(0, 200).map(lambda size: WHOLE[:size]))
def test_what_is_no_certificate_is_a_value_error(octets: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        validity_of(octets)
