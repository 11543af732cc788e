"""Which base URLs need leave, and which can never be used."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import AddressError
from aigenflow.core.hosts import is_loopback
from aigenflow.gateway.addresses import check_base_url, resolve_host

OFFICIAL = frozenset({"api.openai.com"})
NAMES = {
    "api.openai.com": ["104.18.6.192", "2606:4700::6812:6c0"],
    "localhost": ["127.0.0.1", "::1"],
    "models.localhost": ["::1"],
    "public.example": ["93.184.216.34"],
    "intranet.example": ["10.1.2.3"],
    "half.example": ["93.184.216.34", "10.1.2.3"],
    "metadata.example": ["169.254.169.254"],
    "rebind.example": ["127.0.0.1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "scoped.example": ["fe80::1%eth0"],
}


def resolve(host: str) -> list[str]:
    if host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return NAMES[host]


def check(url: str, *trusted: str, names: dict[str, list[str]] | None = None) -> None:
    check_base_url(
        url,
        official_hosts=OFFICIAL,
        trusted_hosts=frozenset(trusted),
        resolve=resolve if names is None else lambda host: names[host],
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com",
        "https://api.openai.com/v1/",
        "https://API.OpenAI.com:443/v1",
        "https://api.openai.com./v1",
        "http://localhost:8200/v1",
        "https://localhost:8443",
        "http://LOCALHOST:1",
        "http://models.localhost:8200",
        "http://127.0.0.1:11434/v1",
        "http://127.8.9.10",
        "http://127.1:80",
        "http://0x7f.1",
        "http://0177.0.0.1",
        "http://2130706433/",
        "http://[::1]:8200/v1",
        "http://[::ffff:127.0.0.1]/",
        "HTTP://127.0.0.1",
    ],
)
def test_allowed(url: str) -> None:
    """The provider's own host, and this machine in any spelling, need no leave."""
    check(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://public.example/v1", "not the provider's own"),
        ("http://public.example/v1", "not the provider's own"),
        ("https://93.184.216.34/", "not the provider's own"),
        ("https://intranet.example", "private"),
        ("https://half.example", "private"),
        ("http://192.168.0.10:11434", "private"),
        ("http://[fd12:3456::1]/", "private"),
        ("https://mapped.example", "private"),
        ("http://[::ffff:10.0.0.1]", "private"),
        ("http://[64:ff9b::10.0.0.1]", "private"),
        ("http://[2002:0a00:0001::]", "private"),
        ("http://169.254.169.254/latest", "metadata"),
        ("http://[::ffff:169.254.169.254]", "metadata"),
        ("http://2852039166/", "metadata"),
        ("http://0xa9.0xfe.0xa9.0xfe", "metadata"),
        ("http://[fd00:ec2::254]/", "metadata"),
        ("https://metadata.example", "metadata"),
        ("http://169.254.1.1", "link-local"),
        ("http://[fe80::1]", "link-local"),
        ("https://scoped.example", "link-local"),
        ("http://100.64.0.1", "CGNAT"),
        ("http://224.0.0.1", "multicast"),
        ("http://[ff02::1]", "multicast"),
        ("http://0.0.0.0:8200", "unspecified"),
        ("http://[::]", "unspecified"),
        ("http://240.0.0.1", "private"),
        ("http://rebind.example:8200", "points at this machine"),
        ("https://api.openai.com.evil.example", "cannot be resolved"),
        ("https://nowhere.example", "cannot be resolved"),
    ],
)
def test_needs_leave(url: str, why: str) -> None:
    """Everything else is refused, the reason is told, and leave settles it."""
    with pytest.raises(AddressError) as caught:
        check(url)
    assert why in caught.value.message
    host = caught.value.hint.rpartition("--trust-base-url ")[2].removesuffix("`.")
    assert host
    check(url, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "//api.openai.com",
        "ftp://api.openai.com",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://user@api.openai.com",
        "https://user:hunter2@api.openai.com",
        "https://api.openai.com@public.example",
        "https://@api.openai.com",
        "https://api.openai.com\\@public.example",
        "https://api.openai.com\n.public.example",
        "https://api.openai .com",
        "https://api.openai.com:port",
        "https://api.openai.com:99999",
        "https://[::1",
        "https://ａｐｉ.openai.com",
        "http://①②⑦.0.0.1",
    ],
)
def test_unusable(url: str) -> None:
    """A URL that is none, or that hides something, is refused even with leave, and not quoted."""
    with pytest.raises(AddressError) as caught:
        check(url, "api.openai.com", "public.example", "127.0.0.1", "::1")
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_official_host_without_tls() -> None:
    """A key never goes to its own provider in the clear."""
    with pytest.raises(AddressError, match="https only"):
        check("http://api.openai.com/v1")


def test_official_host_that_points_inside() -> None:
    """An official name that leads to a private address needs leave."""
    with pytest.raises(AddressError, match="private"):
        check("https://api.openai.com", names={"api.openai.com": ["10.0.0.1"]})


def test_official_host_that_does_not_resolve() -> None:
    """An outage is not a matter of leave: the call itself reports it."""
    check_base_url(
        "https://api.openai.com",
        official_hosts=OFFICIAL,
        trusted_hosts=frozenset(),
        resolve=lambda host: resolve("nowhere.example"),
    )


def test_localhost_that_leads_elsewhere() -> None:
    """Even ``localhost`` must lead to this machine."""
    with pytest.raises(AddressError):
        check("http://localhost", names={"localhost": ["10.0.0.1"]})
    with pytest.raises(AddressError):
        check("http://localhost", names={"localhost": ["127.0.0.1", "10.0.0.1"]})


@given(st.ip_addresses())
def test_no_address_is_official(address: object) -> None:
    """Written as an address, only this machine needs no leave."""
    text = f"[{address}]" if ":" in str(address) else str(address)
    if is_loopback(str(address)):
        check(f"http://{text}/")
    else:
        with pytest.raises(AddressError):
            check(f"https://{text}/")


@given(st.text(max_size=30))
def test_any_text(text: str) -> None:
    """Whatever is written as a URL, the outcome is leave or an ``AddressError``."""
    for url in (text, f"https://{text}", f"http://{text}/v1", f"https://api.openai.com{text}"):
        with suppress(AddressError):
            check(url)


def test_the_systems_resolver() -> None:
    """The default resolver knows this machine, and raises ``OSError`` for what it cannot find."""
    assert "127.0.0.1" in resolve_host("127.0.0.1")
    with pytest.raises(OSError):  # noqa: PT011 - any of its subclasses will do
        resolve_host("no such host")
