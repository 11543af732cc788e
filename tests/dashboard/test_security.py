"""Nobody gets in but the browser of the person who started the dashboard."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from aigenflow.core.config import Settings
from aigenflow.core.errors import ConfigError
from aigenflow.dashboard.security import Access, Facts, Verdict
from aigenflow.dashboard.server import Dashboard
from tests.dashboard.conftest import Client

ACCESS = Access(port=8123, cookie="c" * 32)
OURS = Facts(
    method="GET",
    path="/cost",
    hosts=("127.0.0.1:8123",),
    cookies=(f"other=1; aigenflow-8123={'c' * 32}",),
)
OUR_FORM = replace(OURS, method="POST", origins=("http://127.0.0.1:8123",))


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost:8123", "[::1]:8123"])
def test_our_own_names_are_let_in(host: str) -> None:
    """Loopback by address and by name, on our port."""
    assert ACCESS.judge(replace(OURS, hosts=(host,))) is Verdict.PASS


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("evil.example",),
        ("evil.example:8123",),
        ("127.0.0.1",),
        ("127.0.0.1:80",),
        ("127.0.0.1:8123.evil.example",),
        ("127.0.0.1.evil.example:8123",),
        ("LOCALHOST.evil:8123",),
        ("0.0.0.0:8123",),
        ("user@127.0.0.1:8123",),
        ("127.0.0.1:8123", "evil.example"),
        ("127.0.0.1:8123,evil.example",),
    ],
)
def test_any_other_host_is_refused(hosts: tuple[str, ...]) -> None:
    """A name that resolves to us is not ours: that is how DNS is rebound."""
    assert ACCESS.judge(replace(OURS, hosts=hosts)) is Verdict.WRONG_HOST


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1:8123",
        "http://127.0.0.1:8124",
        "http://localhost:8123",
        "http://127.0.0.1:8123.evil.example",
        "null",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_is_refused(origin: str, method: str) -> None:
    """Another page in the same browser gets nothing and changes nothing, cookie or not."""
    asked = replace(OURS, method=method, origins=(origin,))
    assert ACCESS.judge(asked) is Verdict.FOREIGN_ORIGIN


def test_a_change_must_name_its_origin() -> None:
    """A form says where it comes from; a page that is only read need not."""
    assert ACCESS.judge(replace(OUR_FORM, origins=())) is Verdict.FOREIGN_ORIGIN
    assert ACCESS.judge(OUR_FORM) is Verdict.PASS
    assert ACCESS.judge(OURS) is Verdict.PASS


@pytest.mark.parametrize(
    "cookies",
    [
        (),
        ("",),
        ("aigenflow-8123=",),
        (f"aigenflow-8123={'c' * 31}",),
        (f"aigenflow-8123={'d' * 32}",),
        (f"aigenflow-8124={'c' * 32}",),
        (f"aigenflow={'c' * 32}",),
        ("aigenflow-8123=é",),
    ],
)
def test_without_the_cookie_there_is_nothing(cookies: tuple[str, ...]) -> None:
    """A missing, shortened or foreign cookie is none."""
    assert ACCESS.judge(replace(OURS, cookies=cookies)) is Verdict.NO_COOKIE
    assert ACCESS.judge(replace(OUR_FORM, cookies=cookies)) is Verdict.NO_COOKIE


@pytest.mark.parametrize(
    "cookies",
    [
        (f'prefs={{"dark": true}}; aigenflow-8123={"c" * 32}',),
        (f'user="2|1:0|10:17|a b"; a[0]=1; =x; y; aigenflow-8123={"c" * 32}',),
        (f"aigenflow-8123={'d' * 32}; aigenflow-8123={'c' * 32}",),
        (f"aigenflow-8123={'c' * 32}; aigenflow-8123={'d' * 32}",),
        ("other=1", f"aigenflow-8123={'c' * 32};x=1"),
    ],
)
def test_cookies_of_others_do_not_hide_ours(cookies: tuple[str, ...]) -> None:
    """Every server on this machine shares one set of cookies, and some hold what is no cookie."""
    assert ACCESS.judge(replace(OURS, cookies=cookies)) is Verdict.PASS


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_other_methods_are_refused(method: str) -> None:
    """Pages are read and forms are sent; nothing else is spoken."""
    assert ACCESS.judge(replace(OUR_FORM, method=method)) is Verdict.BAD_METHOD


def test_only_the_entrance_and_our_own_files_are_open() -> None:
    """What the entrance needs is there without a cookie, and only to be read."""
    for path, verdict in (
        ("/enter", Verdict.PASS),
        ("/static/enter.js", Verdict.PASS),
        ("/static", Verdict.NO_COOKIE),
        ("/entering", Verdict.NO_COOKIE),
        ("/", Verdict.NO_COOKIE),
    ):
        assert ACCESS.judge(replace(OURS, path=path, cookies=())) is verdict
    form = replace(OUR_FORM, path="/static/enter.js", cookies=())
    assert ACCESS.judge(form) is Verdict.NO_COOKIE


def test_a_ticket_lets_in_once_and_the_launch_token_again() -> None:
    """What stood in the arguments of the browser is worth nothing afterwards."""
    access = Access(port=1)
    ticket = access.ticket
    assert access.enter(ticket)
    assert not access.enter(ticket)
    assert access.enter(access.launch)
    assert access.enter(access.launch)
    assert not access.enter("")


def test_secrets_differ_and_are_not_shown() -> None:
    """Four secrets of 128 bits, and none of them in a traceback."""
    access = Access(port=1)
    secrets = {access.launch, access.ticket, access.cookie, access.form}
    assert {len(secret) for secret in secrets} == {32}
    assert len(secrets) == 4
    assert not any(secret in repr(access) for secret in secrets)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"cookie": "x=y"}, 401),
        ({}, 200),
    ],
)
def test_the_wire_says_the_same(client: Client, headers: dict[str, str], status: int) -> None:
    """The decisions above are those of the server, and a refusal shows no page of ours."""
    reply = client.get("/cost", **headers)
    assert reply.status == status
    assert ("Billed" in reply.text) is (status == 200)


def test_a_form_needs_its_token(client: Client) -> None:
    """The cookie alone starts, cancels and clears nothing."""
    for path in ("/runs", "/plan", "/cache/clear", "/preferences", "/runs/x/cancel"):
        assert client.post(path, {"token": "0" * 32}).status == 400
        assert client.send("POST", path, b"", {"origin": f"http://{client.host}"}).status == 400
    assert client.app.session_names() == []


def test_the_cookie_is_out_of_reach(stranger: Client) -> None:
    """Scripts cannot read it and other sites cannot send it."""
    given = stranger.enter().headers["set-cookie"].lower()
    assert "httponly" in given
    assert "samesite=strict" in given
    assert "domain" not in given


def test_a_wrong_token_gets_no_cookie(stranger: Client) -> None:
    """Guessing gives nothing."""
    reply = stranger.enter("0" * 32)
    assert (reply.status, "set-cookie" in reply.headers) == (401, False)
    assert stranger.get("/").status == 401


@pytest.mark.parametrize("path", ["/", "/cost", "/enter", "/nowhere", "/static/dashboard.css"])
def test_every_answer_has_the_safe_headers(client: Client, path: str) -> None:
    """Nothing is kept, sniffed, framed or fetched from elsewhere."""
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_preferences_lead_back_to_us_only(client: Client) -> None:
    """The way back is a path of ours, never another site."""
    for back, there in (
        ("/cost", "/cost"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
    ):
        reply = client.post("/preferences", {"theme": "dark", "back": back})
        assert (reply.status, reply.headers["location"]) == (303, there)


def test_it_listens_on_loopback_only() -> None:
    """No other address of the machine is bound, and a port that is taken is said to be."""
    dashboard = Dashboard.listening()
    try:
        names = {each.getsockname()[0] for each in dashboard._sockets}
        assert names <= {"127.0.0.1", "::1"}
        with pytest.raises(ConfigError, match=str(dashboard.access.port)):
            Dashboard.listening(dashboard.access.port)
        assert dashboard.access.launch in dashboard.launch_url.partition("#")[2]
    finally:
        dashboard.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", dashboard.access.port)) != 0


def test_a_form_that_is_too_large_is_refused(client: Client, settings: Settings) -> None:
    """Nobody fills the memory through a form."""
    reply = client.post("/plan", {"topic": "x" * (5 * 1024 * 1024)})
    assert reply.status == 400
    assert not settings.output_dir.exists()
