"""One run: its phases, its document, its quality, its sources, and what can be done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from aigenflow.core.errors import InputError
from aigenflow.core.models import FormatName
from aigenflow.dashboard import books
from aigenflow.dashboard.forms import Form
from aigenflow.dashboard.live import LiveRun, watch
from aigenflow.dashboard.progress import PhaseView, phases_of
from aigenflow.dashboard.security import DOCUMENT_POLICY
from aigenflow.dashboard.sessions import Entry, Sessions, read_json
from aigenflow.dashboard.site import Site, site_of
from aigenflow.engine.models import StepRecord
from aigenflow.monitoring.models import Account, EstimateReview, Totals
from aigenflow.pipeline.orchestrator import document_name

QUALITY_FILE = "quality.json"
_MEDIA_TYPES = {
    ".md": "text/markdown; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".hwpx": "application/hwp+zip",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What changes while a run goes on."""

    entry: Entry
    phases: tuple[PhaseView, ...]
    used: Totals | None
    accounts: tuple[Account, ...]
    live: LiveRun | None

    @property
    def done(self) -> int:
        """How many answers there are."""
        return sum(phase.done for phase in self.phases)

    @property
    def tasks(self) -> int:
        """How many answers a run needs, as far as is known."""
        return sum(len(phase.tasks) for phase in self.phases)

    @property
    def current(self) -> PhaseView | None:
        """The first phase that is not done."""
        return next((phase for phase in self.phases if phase.state != "done"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A numbered source of the document. ``href`` is empty where it cannot be a link."""

    number: int
    title: str
    url: str
    href: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The finished document: its files with sizes, and the formats that can still be made.

    ``stem`` is the name of its files without the suffix.
    """

    stem: str
    files: Mapping[str, int]
    missing: tuple[str, ...]
    quality: Mapping[str, Any]
    metadata: Mapping[str, Any]
    sources: tuple[Source, ...]

    @property
    def has_preview(self) -> bool:
        """Whether there is a page to show."""
        return f"{self.stem}.html" in self.files


async def show(request: Request) -> Response:
    """The page."""
    site, name = site_of(request), request.path_params["session"]
    progress, document = await asyncio.to_thread(_read_all, site, name)
    review: EstimateReview | None = await asyncio.to_thread(books.review_of, site.app, name)
    return site.page(
        request,
        "run",
        view=progress,
        document=document,
        review=review,
        thresholds=books.thresholds(site.app),
    )


async def follow(request: Request) -> Response:
    """The changing part of the page, until the run has ended."""
    site, name = site_of(request), request.path_params["session"]
    progress = await asyncio.to_thread(_read, site, name)

    async def goes_on() -> bool:
        nonlocal progress
        progress = await asyncio.to_thread(_read, site, name)
        return progress.entry.is_going_on

    async def draw() -> str:
        return site.draw(request, "_run", view=progress, thresholds=books.thresholds(site.app))

    events = watch(draw, lambda: site.sessions.live(name), goes_on)
    return StreamingResponse(events, media_type="text/event-stream")


async def preview(request: Request) -> Response:
    """The document as a page of its own, which can do nothing."""
    site, name = site_of(request), request.path_params["session"]
    data = await asyncio.to_thread(_preview, site.sessions, name)
    return Response(
        data,
        media_type=_MEDIA_TYPES[".html"],
        headers={"content-security-policy": DOCUMENT_POLICY},
    )


async def download(request: Request) -> Response:
    """A file of the document, to be kept."""
    site, file = site_of(request), request.path_params["file"]
    data = await asyncio.to_thread(site.sessions.file, request.path_params["session"], file)
    return Response(
        data,
        media_type=_MEDIA_TYPES.get(Path(file).suffix, "application/octet-stream"),
        headers={
            "content-disposition": f"attachment; filename*=UTF-8''{quote(Path(file).name)}",
            "content-security-policy": DOCUMENT_POLICY,
        },
    )


async def cancel(request: Request, _form: Form) -> Response:
    """Stop the run."""
    await site_of(request).sessions.cancel(request.path_params["session"])
    return _back_to(request)


async def resume(request: Request, _form: Form) -> Response:
    """Go on with the run."""
    await site_of(request).sessions.resume(request.path_params["session"])
    return _back_to(request)


async def export(request: Request, form: Form) -> Response:
    """Make one more format of the document."""
    site, wanted = site_of(request), form.get("format", "")
    if wanted not in get_args(FormatName) or site.sessions.shared:
        raise InputError(
            _("{name!r} is no format that can be made here.").format(name=wanted[:40]),
            hint=_("`aigenflow export` makes every format on the machine of the session."),
        )
    await asyncio.to_thread(site.app.export, request.path_params["session"], (wanted,))
    return _back_to(request)


def _back_to(request: Request) -> Response:
    name = quote(request.path_params["session"], safe="")
    return RedirectResponse(f"/runs/{name}", HTTPStatus.SEE_OTHER)


def _read_all(site: Site, name: str) -> tuple[Progress, Document | None]:
    progress = _read(site, name)
    spec = progress.entry.spec
    files = site.sessions.files(name)
    if spec is None or document_name(spec) not in files:
        return progress, None
    stem = Path(document_name(spec)).stem
    metadata = site.sessions.metadata(name)
    return progress, Document(
        stem=stem,
        files=files,
        missing=()
        if site.sessions.shared
        else tuple(each for each in get_args(FormatName) if f"{stem}.{each}" not in files),
        quality=read_json(site.sessions, name, QUALITY_FILE),
        metadata=metadata,
        sources=tuple(_sources(metadata)),
    )


def _read(site: Site, name: str) -> Progress:
    entry, live = site.sessions.read(name), site.sessions.live(name)
    records: Sequence[StepRecord] = site.sessions.records(name)
    return Progress(
        entry=entry,
        phases=phases_of(records, live),
        used=books.totals_of(site.app, name),
        accounts=books.accounts_of(site.app, name) if entry.is_going_on else (),
        live=live,
    )


def _preview(sessions: Sessions, name: str) -> bytes:
    spec = sessions.read(name).spec
    if spec is None:
        raise InputError(_("Session {id} has no document yet.").format(id=name))
    return sessions.file(name, f"{Path(document_name(spec)).stem}.html")


def _sources(metadata: Mapping[str, Any]) -> list[Source]:
    """The numbered sources in the metadata, which a person may have edited."""
    found = metadata.get("sources")
    rows = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [
        Source(
            number=number,
            title=str(row.get("title") or row.get("url") or ""),
            url=str(row.get("url") or ""),
            href=as_link(str(row.get("url") or "")),
            date=str(row.get("date") or ""),
        )
        for number, row in enumerate(rows, start=1)
    ]


def as_link(url: str) -> str:
    """``url`` where it is an ordinary web address, else nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.hostname else ""
