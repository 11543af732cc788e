"""The dashboard's server: on this machine's own addresses, for as long as the command runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import webbrowser
from collections.abc import Iterator
from gettext import gettext as _
from typing import TYPE_CHECKING

import uvicorn

from aigenflow.app import App
from aigenflow.core.errors import ConfigError
from aigenflow.core.events import Event, Warned
from aigenflow.dashboard.live import Runs
from aigenflow.dashboard.security import ENTRANCE, Access
from aigenflow.dashboard.site import Site, build_site

if TYPE_CHECKING:
    from aigenflow.engine.fleet_control import FleetControl

_BACKLOG = 128
_FAREWELL_S = 2
_MAX_NOTICES = 20


class Dashboard:
    """One dashboard: its sockets, and who may use it."""

    def __init__(self, sockets: list[socket.socket], access: Access) -> None:
        self.access = access
        self.unfinished: list[str] = []
        self._sockets = sockets
        self._notices: list[str] = []

    @classmethod
    def listening(cls, port: int = 0) -> Dashboard:
        """Listen on ``port`` of 127.0.0.1, and of ::1 where there is one; 0 is any free port.

        Raises :class:`~aigenflow.core.errors.ConfigError` where the port is taken.
        """
        sockets = [_listen(socket.AF_INET, "127.0.0.1", port)]
        chosen = sockets[0].getsockname()[1]
        with contextlib.suppress(ConfigError):  # a machine without IPv6
            sockets.append(_listen(socket.AF_INET6, "::1", chosen))
        return cls(sockets, Access(port=chosen))

    @property
    def launch_url(self) -> str:
        """The address that lets in. The token is behind the #, which no server is ever sent."""
        return self._url(self.access.launch)

    def on_event(self, event: Event) -> None:
        """Keep what concerns the whole program for the pages to show."""
        if isinstance(event, Warned) and event.message not in self._notices:
            self._notices.append(event.message)
            del self._notices[:-_MAX_NOTICES]

    async def serve(
        self, app: App, *, control: FleetControl | None = None, open_browser: bool = False
    ) -> None:
        """Answer until cancelled. Runs that are under way here then stop, and can be resumed.

        With ``control``, the pages are those of its fleet.
        """
        runs = Runs(app)
        site = build_site(
            Site(app=app, access=self.access, runs=runs, notices=self._notices, control=control)
        )
        server = _Server(
            uvicorn.Config(
                site,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_FAREWELL_S,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=self._sockets))
        if open_browser:
            url = self._url(self.access.ticket)
            opening = asyncio.create_task(asyncio.to_thread(webbrowser.open, url))
        try:
            await asyncio.shield(serving)
        finally:
            if open_browser:
                opening.cancel()
            await runs.aclose()
            self.unfinished = runs.unfinished
            server.should_exit = True
            await serving

    def close(self) -> None:
        """Listen no longer."""
        for each in self._sockets:
            each.close()

    def _url(self, token: str) -> str:
        return f"http://127.0.0.1:{self.access.port}{ENTRANCE}#{token}"


class _Server(uvicorn.Server):
    """A server that leaves the signals to the program, which knows what to do on Ctrl-C."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _taken(port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _taken(port, error) from error
    return listener


def _taken(port: int, error: OSError) -> ConfigError:
    return ConfigError(
        _("The dashboard cannot listen on port {port}: {problem}").format(
            port=port, problem=error.strerror or error
        ),
        hint=_("Choose another with --port, or leave it out."),
    )
