"""A dashboard on loopback, without a browser."""

from __future__ import annotations

import asyncio
import http.client
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aigenflow.app import App
from aigenflow.core.config import Settings, load_settings
from aigenflow.dashboard.server import Dashboard


@dataclass
class Reply:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """A browser's part of the conversation: cookies and tokens, but no page."""

    dashboard: Dashboard
    app: App
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.dashboard.access.port}"

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, None, headers)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Reply:
        """A form of ours, as a browser would send it."""
        fields = {"token": self.dashboard.access.form, **(form or {})}
        given = {"origin": f"http://{self.host}", **headers}
        return self.send("POST", path, urllib.parse.urlencode(fields).encode(), given)

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        sent = {"host": self.host, **headers}
        if self.cookies:
            sent.setdefault("cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items()))
        address, port = "127.0.0.1", self.dashboard.access.port
        with closing(http.client.HTTPConnection(address, port, timeout=20)) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            kept = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, kept, response.read())

    def enter(self, token: str | None = None) -> Reply:
        """Exchange the token for the cookie."""
        fields = urllib.parse.urlencode({"token": token or self.dashboard.access.launch})
        origin = {"origin": f"http://{self.host}"}
        reply = self.send("POST", "/enter", fields.encode(), origin)
        if match := re.match(r"(aigenflow-\d+)=(\w+)", reply.headers.get("set-cookie", "")):
            self.cookies[match[1]] = match[2]
        return reply


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """No keys and no local server, so the offline drafter writes."""
    for name in ("ANTHROPIC", "OPENAI", "GEMINI", "PERPLEXITY"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    monkeypatch.setenv("LANGUAGE", "en")
    flags = {"output_dir": tmp_path / "output", "local": {"discover": False}}
    return load_settings(tmp_path / "home", None, flags)


@pytest.fixture
def stranger(settings: Settings, tmp_path: Path) -> Iterator[Client]:
    """Somebody who can reach the port and has no token."""
    ready, stop = threading.Event(), asyncio.Event()
    made: list[Client] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        with closing(Dashboard.listening()) as dashboard:
            async with App(settings, home=tmp_path / "home", on_event=dashboard.on_event) as app:
                made.append(Client(dashboard, app))
                serving = asyncio.create_task(dashboard.serve(app))
                ready.set()
                await stop.wait()
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    (tmp_path / "home").mkdir(exist_ok=True)
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield made[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def client(stranger: Client) -> Client:
    """The person who started the dashboard."""
    assert stranger.enter().status == 303
    return stranger
