"""A browser's part of the conversation with a dashboard, over HTTP and without a page."""

from __future__ import annotations

import html
import http.client
import re
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

CLOSED = "(closed)"
"""Follows what an event stream told that is not open any more."""


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def words(self) -> str:
        """The page's own text, without its tags."""
        main = self.text.partition("<main")[2]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


class Visitor:
    """A browser's part of the conversation: it has exchanged the token for a cookie."""

    def __init__(self, url: str) -> None:
        address = urllib.parse.urlsplit(url)
        self._host = address.netloc
        self._headers = {"host": self._host, "origin": f"http://{self._host}"}
        entered = self._send("POST", "/enter", {"token": address.fragment})
        assert entered.status == 303
        self._headers["cookie"] = entered.headers["set-cookie"].partition(";")[0]
        found = re.search(r'name="token" value="(\w+)"', self.get("/").text)
        assert found is not None
        self._form = found[1]

    def get(self, path: str) -> Reply:
        return self._send("GET", path)

    def post(self, path: str, **fields: str) -> Reply:
        return self._send("POST", path, {"token": self._form, **fields})

    def until(self, path: str, holds: Callable[[Reply], object], within_s: float = 30) -> Reply:
        """The page at ``path`` once it ``holds``."""
        end = time.monotonic() + within_s
        while not holds(reply := self.get(path)):
            assert time.monotonic() < end, reply.words[:3000]
            time.sleep(0.1)
        return reply

    @contextmanager
    def following(self, path: str) -> Iterator[Callable[[], str]]:
        """What the event stream at ``path`` has told so far, and still tells while it is open."""
        told = bytearray()
        with closing(http.client.HTTPConnection(self._host, timeout=120)) as connection:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            assert response.status == 200

            def listen() -> None:
                while data := response.read1():
                    told.extend(data)

            listening = threading.Thread(target=listen, daemon=True)
            listening.start()
            yield lambda: told.decode(errors="ignore") + ("" if listening.is_alive() else CLOSED)

    def _send(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> Reply:
        body = None if fields is None else urllib.parse.urlencode(fields)
        with closing(http.client.HTTPConnection(self._host, timeout=60)) as connection:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, headers, response.read())


def launch_address(dashboard: subprocess.Popen[str]) -> str:
    """The address that `aigenflow dashboard` prints first; it lets in."""
    assert dashboard.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/enter#\w+", dashboard.stdout.readline())
    assert found is not None
    return found[0]
