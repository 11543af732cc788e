"""Who may use the dashboard: the browser of the person who started it, and nobody else.

Every local process can connect to a loopback port, and every page in the same browser can make it
try. So a request needs the exact host name that the server listens under (against DNS rebinding),
no foreign origin (against other pages), and the cookie that only the launch address brings. What
changes something also needs a form with its token.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from hmac import compare_digest

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENTRANCE = "/enter"
STATIC = "/static/"
SAFE_METHODS = frozenset({"GET", "HEAD"})
METHODS = frozenset({*SAFE_METHODS, "POST"})
TOKEN_BYTES = 16

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
DOCUMENT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
"""For text of models: it runs nothing, fetches nothing and has no origin."""

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": PAGE_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not "no-referrer": a browser would then hide the origin of our own forms too.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Verdict(Enum):
    """What becomes of a request: its status, and the reason that a refused one is told."""

    PASS = (200, "")
    BAD_METHOD = (405, "This method is not used here.")
    WRONG_HOST = (403, "This is not the address the dashboard listens under.")
    FOREIGN_ORIGIN = (403, "The request does not come from the dashboard.")
    NO_COOKIE = (401, "The dashboard needs the token of its launch address.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is looked at of a request. ``hosts`` and ``origins`` are all headers of that name."""

    method: str
    path: str
    hosts: tuple[str, ...]
    origins: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()


def new_token() -> str:
    """128 bits of chance, in hex."""
    return secrets.token_hex(TOKEN_BYTES)


@dataclass(slots=True, kw_only=True)
class Access:
    """The secrets of one dashboard, which end with its process.

    ``launch`` is in the address that is printed. ``ticket`` opens the browser and is used up by
    it, because other users can read the arguments of a process. ``cookie`` is what both are
    exchanged for, ``form`` goes into every form.
    """

    port: int
    launch: str = field(default_factory=new_token, repr=False)
    ticket: str = field(default_factory=new_token, repr=False)
    cookie: str = field(default_factory=new_token, repr=False)
    form: str = field(default_factory=new_token, repr=False)

    @property
    def hosts(self) -> frozenset[str]:
        """The only values of ``Host`` that are ours."""
        return frozenset(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]"))

    @property
    def cookie_name(self) -> str:
        """With the port, because browsers keep one set of cookies for all ports of a host."""
        return f"aigenflow-{self.port}"

    def enter(self, token: str) -> bool:
        """Whether ``token`` lets in; a ticket does once."""
        if _same(token, self.ticket):
            self.ticket = new_token()
            return True
        return _same(token, self.launch)

    def is_form(self, token: str) -> bool:
        """Whether a form carries the token of our forms."""
        return _same(token, self.form)

    def judge(self, request: Facts) -> Verdict:
        """Whether to answer, and if not, why."""
        if request.method not in METHODS:
            return Verdict.BAD_METHOD
        if len(request.hosts) != 1 or request.hosts[0] not in self.hosts:
            return Verdict.WRONG_HOST
        if not self._is_ours(request):
            return Verdict.FOREIGN_ORIGIN
        is_open = request.path == ENTRANCE or (
            request.method in SAFE_METHODS and request.path.startswith(STATIC)
        )
        if not is_open and not self._has_cookie(request.cookies):
            return Verdict.NO_COOKIE
        return Verdict.PASS

    def _is_ours(self, request: Facts) -> bool:
        """An origin must be the one that was asked; what changes something must name it."""
        ours = f"http://{request.hosts[0]}"
        if any(origin != ours for origin in request.origins):
            return False
        return bool(request.origins) or request.method in SAFE_METHODS

    def _has_cookie(self, headers: Iterable[str]) -> bool:
        # By hand: what other servers of this host set may be no cookie that a parser goes on after.
        cookies = (each.strip().partition("=") for header in headers for each in header.split(";"))
        return any(
            name == self.cookie_name and _same(value, self.cookie) for name, _is, value in cookies
        )


def _same(given: str, wanted: str) -> bool:
    return compare_digest(given.encode("utf-8", "replace"), wanted.encode())


class Guard:
    """Stands before the pages: refuses what :meth:`Access.judge` does, and sets safe headers."""

    def __init__(self, app: ASGIApp, access: Access, refused: ASGIApp) -> None:
        self._app = app
        self._access = access
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. ``refused`` answers in our place, with ``scope["verdict"]``."""
        if scope["type"] != "http":
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        verdict = self._access.judge(_facts(scope))
        if verdict is Verdict.PASS:
            await self._app(scope, receive, send_safely)
        else:
            await self._refused({**scope, "verdict": verdict}, receive, send_safely)


def _facts(scope: Scope) -> Facts:
    def values(name: bytes) -> tuple[str, ...]:
        return tuple(value.decode("latin-1") for key, value in scope["headers"] if key == name)

    return Facts(
        method=scope["method"],
        path=scope["path"],
        hosts=values(b"host"),
        origins=values(b"origin"),
        cookies=values(b"cookie"),
    )
