"""Which machine a host is, by its name alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.hosts import is_loopback

HERE = ("localhost", "a.localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "::1")
CARRIED = ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::")
ELSEWHERE = ("", "x", "localhost.evil.com", "127.0.0.1.evil.com", "10.0.0.1", "0.0.0.0", "::")


@pytest.mark.parametrize("host", [*HERE, *CARRIED])
def test_this_machine(host: str) -> None:
    """However it is written, also as an IPv4 address that an IPv6 one carries."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_any_other(host: str) -> None:
    """A name that only looks like this machine is not."""
    assert not is_loopback(host)


@given(st.text(max_size=20))
def test_any_text(host: str) -> None:
    """Whatever is written as a host has an answer, also what no host can hold."""
    assert is_loopback(host) in {True, False}
    assert not is_loopback(f"{host}\0")
