"""Where prompts and keys may go: the check of a base URL before anything is sent to it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from gettext import gettext as _
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from aigenflow.core.errors import AddressError
from aigenflow.core.hosts import Address, is_loopback, literal_address, unwrapped

Resolve: TypeAlias = Callable[[str], Iterable[str]]
"""From a host name to its addresses as text; raises ``OSError`` where there are none."""

_CGNAT = ipaddress.ip_network("100.64.0.0/10")
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254")
)


def resolve_host(host: str) -> tuple[str, ...]:
    """The addresses the system's resolver has for ``host``; blocks; raises ``OSError``."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(str(entry[4][0]) for entry in found)


def check_base_url(
    url: str,
    *,
    official_hosts: frozenset[str],
    trusted_hosts: frozenset[str],
    resolve: Resolve = resolve_host,
) -> None:
    """Raise ``AddressError`` unless prompts and keys may be sent to ``url``.

    Without leave: the provider's own hosts over https, and this machine (``localhost`` or a
    loopback address in any spelling) over http or https. Everything else needs its host among
    ``trusted_hosts``. A name that only resolves to loopback is not this machine: its owner can
    point it elsewhere after the check. Hosts are compared in lower case, without a port.
    """
    parts = _split(url)
    host = _host(parts)
    if host in trusted_hosts:
        return
    addresses = _addresses(host, resolve)
    if host in official_hosts:
        _check_official(parts, host, addresses)
    elif not (is_loopback(host) and addresses and all(a.is_loopback for a in addresses)):
        raise _needs_leave(host, _reason(addresses))


def _split(url: str) -> SplitResult:
    if not url.isascii() or any(c.isspace() or not c.isprintable() or c == "\\" for c in url):
        raise _unusable(_("A base URL has only plain ASCII characters (punycode for others)."))
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise _unusable(_("The base URL cannot be read as an address.")) from None
    if parts.scheme not in {"http", "https"}:
        raise _unusable(_("A base URL begins with https:// (or http:// on this machine)."))
    if parts.username is not None or parts.password is not None:
        raise _unusable(_("A base URL holds no user name and no password."))
    return parts


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    if not host:
        raise _unusable(_("The base URL names no host."))
    return host


def _addresses(host: str, resolve: Resolve) -> tuple[Address, ...]:
    """Every address ``host`` stands for, unwrapped; empty where it cannot be resolved."""
    literal = literal_address(host)
    if literal is not None:
        return (unwrapped(literal),)
    try:
        return tuple(unwrapped(ipaddress.ip_address(text)) for text in resolve(host))
    except (OSError, ValueError):
        return ()


def _check_official(parts: SplitResult, host: str, addresses: tuple[Address, ...]) -> None:
    if parts.scheme != "https":
        raise _unusable(_("{host} is reached over https only.").format(host=host))
    # An official name that does not resolve is an outage, which the call itself reports better.
    if any(_range(address) for address in addresses):
        raise _needs_leave(host, _reason(addresses))


def _reason(addresses: tuple[Address, ...]) -> str:
    if not addresses:
        return _("its name cannot be resolved")
    return next(
        (reason for reason in map(_range, addresses) if reason),
        _("it is not the provider's own host"),
    )


def _range(address: Address) -> str:
    """Why ``address`` is no public host, in words; empty if it is one."""
    checks = (
        (address in _METADATA, _("it is a cloud metadata service")),
        (address.is_loopback, _("its name points at this machine")),
        (address.is_link_local, _("its address is link-local")),
        (address.is_multicast, _("its address is multicast")),
        (address.is_unspecified, _("its address is unspecified")),
        (address in _CGNAT, _("its address is shared by a carrier (CGNAT)")),
        (address.is_private, _("its address is private")),
        (address.is_reserved or not address.is_global, _("its address is reserved")),
    )
    return next((reason for applies, reason in checks if applies), "")


def _unusable(message: str) -> AddressError:
    return AddressError(message, hint=_("Look at `base_url` of this agent."))


def _needs_leave(host: str, reason: str) -> AddressError:
    message = _("Nothing is sent to {host}: {reason}.").format(host=host, reason=reason)
    hint = _("If prompts and the key may go there, give leave with `--trust-base-url {host}`.")
    return AddressError(message, hint=hint.format(host=host))
