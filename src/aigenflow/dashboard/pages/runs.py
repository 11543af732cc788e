"""All runs: those under way in full, then every session, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from aigenflow.dashboard import books
from aigenflow.dashboard.live import watch
from aigenflow.dashboard.progress import PhaseView, phases_of
from aigenflow.dashboard.sessions import Entry
from aigenflow.dashboard.site import Site, site_of
from aigenflow.monitoring.models import Account, Totals

PAGE_SIZE = 25
MOST_CARDS = 12
"""How many runs under way are shown in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A run under way."""

    entry: Entry
    phases: tuple[PhaseView, ...]
    used: Totals | None
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A session in the list. ``used`` is ``None`` where nobody keeps books."""

    entry: Entry
    used: Totals | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the list. ``number`` counts from 1; ``remarks`` concern all sessions."""

    rows: tuple[Row, ...]
    cards: tuple[Card, ...]
    more_cards: int
    number: int
    pages: int
    total: int
    accounts: tuple[Account, ...]
    remarks: tuple[str, ...]

    @property
    def goes_on(self) -> bool:
        """Whether something on it will change."""
        return bool(self.cards) or any(row.entry.is_going_on for row in self.rows)


async def show(request: Request) -> Response:
    """The page."""
    site, number = site_of(request), _number(request)
    page = await asyncio.to_thread(_read, site, number)
    return site.page(request, "runs", view=page, thresholds=books.thresholds(site.app))


async def follow(request: Request) -> Response:
    """The changing part of the page, as long as something changes."""
    site, number = site_of(request), _number(request)
    page: Page | None = None

    async def draw() -> str:
        assert page is not None
        return site.draw(request, "_runs", view=page, thresholds=books.thresholds(site.app))

    async def goes_on() -> bool:
        nonlocal page
        page = await asyncio.to_thread(_read, site, number)
        return page.goes_on

    def live() -> None:
        return None

    events: AsyncIterator[str] = watch(draw, live, goes_on)
    return StreamingResponse(events, media_type="text/event-stream")


def _number(request: Request) -> int:
    text = request.query_params.get("page", "1")
    return min(max(int(text), 1), 1_000_000) if text.isascii() and text.isdigit() else 1


def _read(site: Site, number: int) -> Page:
    entries, total = site.sessions.page((number - 1) * PAGE_SIZE, PAGE_SIZE)
    pages = max(1, -(-total // PAGE_SIZE))
    if number > pages:
        return _read(site, pages)
    known, running = site.sessions.under_way(MOST_CARDS)
    by_name = {entry.name: entry for entry in (*known, *entries)}
    going_on = [entry for entry in by_name.values() if entry.status == "running"]
    cards = tuple(_card(site, entry) for entry in going_on[:MOST_CARDS])
    rows = tuple(Row(entry=entry, used=books.totals_of(site.app, entry.name)) for entry in entries)
    return Page(
        rows=rows,
        cards=cards,
        more_cards=max(running, len(going_on)) - len(cards),
        number=number,
        pages=pages,
        total=total,
        accounts=books.accounts_of(site.app),
        remarks=tuple(site.sessions.remarks()),
    )


def _card(site: Site, entry: Entry) -> Card:
    accounts = books.accounts_of(site.app, entry.name)
    return Card(
        entry=entry,
        phases=phases_of(site.sessions.records(entry.name), site.sessions.live(entry.name)),
        used=books.totals_of(site.app, entry.name),
        accounts=tuple(each for each in accounts if each.window.session),
    )
