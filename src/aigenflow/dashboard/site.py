"""The pages put together: addresses, templates, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from gettext import gettext as _
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from aigenflow.app import App
from aigenflow.core import words
from aigenflow.core.db import DatabaseError
from aigenflow.core.errors import (
    AigenflowError,
    BudgetExceededError,
    SessionInUseError,
    SessionNotFoundError,
    UsageError,
)
from aigenflow.core.language import UiLanguage, speak, spoken
from aigenflow.dashboard import figures, wording
from aigenflow.dashboard.forms import Handler, with_form
from aigenflow.dashboard.live import Runs
from aigenflow.dashboard.progress import steps_of
from aigenflow.dashboard.security import ENTRANCE, Access, Guard, Verdict
from aigenflow.dashboard.sessions import LocalSessions, Sessions
from aigenflow.monitoring.zones import zone_named

if TYPE_CHECKING:
    from aigenflow.engine.fleet_control import FleetControl

_HERE = Path(__file__).parent
THEMES = ("auto", "light", "dark")
THEME_COOKIE, LANGUAGE_COOKIE = "aigenflow-theme", "aigenflow-language"


@dataclass(slots=True, kw_only=True)
class Site:
    """What every page has at hand. ``notices`` concern the whole program.

    ``orders`` are the runs that forms have ordered, each by the number of its quotation.
    """

    app: App
    access: Access
    runs: Runs
    notices: Sequence[str] = ()
    control: FleetControl | None = None
    sessions: Sessions = field(init=False)
    orders: dict[str, asyncio.Task[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._zone = zone_named(self.app.settings.budget.timezone)
        self._started_in: UiLanguage = spoken()
        self._templates = _environment(self)
        if self.control is None:
            self.sessions = LocalSessions(self.app, self.runs)
        else:
            from aigenflow.dashboard.sessions import FleetSessions

            self.sessions = FleetSessions(self.app, self.control)

    _zone: Any = field(init=False)
    _started_in: UiLanguage = field(init=False)
    _templates: Environment = field(init=False)

    def when(self, at: datetime | None) -> str:
        """A moment in the user's time zone."""
        return wording.DASH if at is None else wording.moment(at.astimezone(self._zone))

    def language_of(self, request: Request) -> UiLanguage:
        """The language that the user chose on a page, else that of the command."""
        wanted = request.cookies.get(LANGUAGE_COOKIE)
        return cast("UiLanguage", wanted) if wanted in ("ko", "en") else self._started_in

    def page(
        self, request: Request, template: str, status: int = HTTPStatus.OK, **view: object
    ) -> HTMLResponse:
        """A whole page."""
        theme = request.cookies.get(THEME_COOKIE, "auto")
        frame = {
            "path": request.url.path,
            "back": _way_back(request),
            "language": self.language_of(request),
            "theme": theme if theme in THEMES else "auto",
            "notices": self.notices,
            "refresh_s": _refresh_of(request),
        }
        return HTMLResponse(self.draw(request, template, **frame, **view), status)

    def draw(self, request: Request, template: str, **view: object) -> str:
        """A page, or a part of one, in the language of whoever asked for it."""
        before = spoken()
        speak(self.language_of(request))
        try:
            return self._templates.get_template(f"{template}.html.j2").render(view)
        finally:
            speak(before)


def site_of(request: Request) -> Site:
    """The site that answers ``request``."""
    return cast("Site", request.app.state.site)


def _way_back(request: Request) -> str:
    """Where to go after a change of language or theme: here, unless here is only for forms."""
    path, query = request.url.path, request.url.query
    if request.method != "GET":
        return path if path == "/plan" else "/"
    return f"{path}?{query}" if query else path


def _refresh_of(request: Request) -> int:
    """Seconds until a page without script loads itself again; 0 is never."""
    wanted = request.query_params.get("refresh", "")
    return min(max(int(wanted), 2), 600) if wanted.isascii() and wanted.isdigit() else 0


def _environment(site: Site) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "_": _,
        "w": wording,
        "words": words,
        "fig": figures,
        "steps_of": steps_of,
        "when": site.when,
        "form_token": site.access.form,
    }
    environment.filters |= {
        "money": wording.money,
        "count": wording.count,
        "percent": words.percent,
        "size": wording.size,
        "address": lambda text: quote(text, safe=""),
    }
    return environment


def _routes() -> Sequence[BaseRoute]:
    """Every address, and what answers there."""
    from aigenflow.dashboard.pages import cache, cost, entrance, plan, run, runs, task

    def get(path: str, handler: Handler) -> Route:
        return Route(path, _in_language(handler), methods=["GET"])

    def post(path: str, handler: Any) -> Route:
        return Route(path, _in_language(with_form(handler)), methods=["POST"])

    return [
        get("/", runs.show),
        get("/events", runs.follow),
        post("/runs", plan.start),
        get("/runs/{session}", run.show),
        get("/runs/{session}/events", run.follow),
        get("/runs/{session}/preview", run.preview),
        get("/runs/{session}/files/{file:path}", run.download),
        get("/runs/{session}/tasks/{phase:int}/{task}", task.show),
        post("/runs/{session}/cancel", run.cancel),
        post("/runs/{session}/resume", run.resume),
        post("/runs/{session}/export", run.export),
        get("/cost", cost.show),
        get("/cache", cache.show),
        get("/cache/{key}", cache.show_entry),
        post("/cache/clear", cache.clear),
        post("/cache/{key}/forget", cache.forget),
        get("/plan", plan.show),
        post("/plan", plan.quote),
        get(ENTRANCE, entrance.show),
        Route(ENTRANCE, _in_language(entrance.enter), methods=["POST"]),
        post("/preferences", entrance.prefer),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]


def build_site(site: Site) -> ASGIApp:
    """The site behind its guard."""
    from aigenflow.dashboard.pages import entrance

    application = Starlette(
        routes=_routes(),
        exception_handlers={
            AigenflowError: _show_error,
            DatabaseError: _show_database_error,
            HTTPException: _show_http_error,
            Exception: _show_bug,
        },
    )
    application.state.site = site

    async def refused(scope: Scope, receive: Receive, send: Send) -> None:
        verdict: Verdict = scope["verdict"]
        code, reason = verdict.value
        if verdict is Verdict.NO_COOKIE:
            request = Request({**scope, "app": application}, receive)
            await (await entrance.knock(request))(scope, receive, send)
        else:
            await Response(reason, code, media_type="text/plain")(scope, receive, send)

    return Guard(application, site.access, refused)


def _in_language(handler: Handler) -> Handler:
    """Messages are in one language for the whole process: it has one user."""

    async def handle(request: Request) -> Response:
        speak(site_of(request).language_of(request))
        return await handler(request)

    return handle


_STATUS: Mapping[type[AigenflowError], HTTPStatus] = {
    SessionNotFoundError: HTTPStatus.NOT_FOUND,
    SessionInUseError: HTTPStatus.CONFLICT,
    UsageError: HTTPStatus.BAD_REQUEST,
    BudgetExceededError: HTTPStatus.CONFLICT,
}


async def _show_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AigenflowError)
    kinds = (status for kind, status in _STATUS.items() if isinstance(error, kind))
    code = next(kinds, HTTPStatus.INTERNAL_SERVER_ERROR)
    return site_of(request).page(
        request, "error", code, title=error.message, message="", hint=error.hint
    )


async def _show_database_error(request: Request, error: Exception) -> Response:
    return site_of(request).page(
        request,
        "error",
        HTTPStatus.SERVICE_UNAVAILABLE,
        title=_("The database cannot be read or written."),
        message=wording.one_line(str(error), 500),
        hint=_("Is it there, and is there room on its disk? Load the page again."),
    )


async def _show_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return site_of(request).page(
        request,
        "error",
        error.status_code,
        title=_("There is no such page.") if error.status_code == 404 else error.detail,
        message="",
        hint=_("The links above lead to what there is."),
    )


async def _show_bug(request: Request, error: Exception) -> Response:
    problem = wording.one_line(f"{type(error).__name__}: {error}", 500)
    return site_of(request).page(
        request,
        "error",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        title=_("This is a bug in aigenflow."),
        message=problem,
        hint=_("Runs that are under way go on. Report what you did and this message."),
    )
