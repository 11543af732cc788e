"""The response cache: how full it is, how often it answers, what is in it, and clearing it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from gettext import gettext as _
from http import HTTPStatus
from typing import cast

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from aigenflow.app import App
from aigenflow.cache.manager import CacheManager
from aigenflow.cache.models import CacheStats, EntryFilter, Listed
from aigenflow.cache.storage import Sort
from aigenflow.core.errors import ConfigError, InputError
from aigenflow.dashboard.forms import Form
from aigenflow.dashboard.site import site_of
from aigenflow.monitoring.models import Dimension, Totals

SORTS = ("created", "size", "cost")
MOST_ENTRIES = 50
AGES_DAYS = (1, 7, 30)
MOST_DAYS = 36_500
DAYS_SHOWN = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything on the page. ``days`` are the ledger's, the last thirty with any calls."""

    stats: CacheStats
    entries: tuple[Listed, ...]
    days: tuple[Totals, ...]


async def show(request: Request) -> Response:
    """The page."""
    site, query = site_of(request), request.query_params
    chosen = _choice(query)
    sort = cast("Sort", query["sort"]) if query.get("sort") in SORTS else "created"
    view = None
    if site.app.cache is not None:
        view = await asyncio.to_thread(_read, site.app, site.app.cache, _filter(chosen), sort)
    return _page(request, view, chosen, sort)


async def show_entry(request: Request) -> Response:
    """One answer, and what it answers."""
    site, key = site_of(request), request.path_params["key"]
    manager = _manager(site.app)
    entry = await asyncio.to_thread(manager.show, key)
    if entry is None:
        raise _no_entry(key)
    explanation = await asyncio.to_thread(manager.why, key)
    return site.page(request, "entry", entry=entry, explanation=explanation)


async def clear(request: Request, form: Form) -> Response:
    """Say what would go; with ``confirmed``, let it go."""
    site = site_of(request)
    manager, chosen = _manager(site.app), _choice(form)
    wanted = _filter(chosen)
    if form.get("confirmed"):
        await asyncio.to_thread(manager.clear, wanted)
        return RedirectResponse("/cache", HTTPStatus.SEE_OTHER)
    found = await asyncio.to_thread(manager.list, wanted)
    return site.page(
        request,
        "clear",
        chosen=chosen,
        entries=len(found),
        size_bytes=sum(each.size_bytes for each in found),
    )


async def forget(request: Request, _form: Form) -> Response:
    """Forget one answer."""
    key = request.path_params["key"]
    if not await asyncio.to_thread(_manager(site_of(request).app).invalidate, key):
        raise _no_entry(key)
    return RedirectResponse("/cache", HTTPStatus.SEE_OTHER)


def _page(request: Request, view: View | None, chosen: Mapping[str, str], sort: Sort) -> Response:
    return site_of(request).page(
        request, "cache", view=view, chosen=chosen, sort=sort, sorts=SORTS, ages=AGES_DAYS
    )


def _read(app: App, cache: CacheManager, wanted: EntryFilter, sort: Sort) -> View:
    days = app.tracker.totals(Dimension.DAY) if app.tracker else []
    return View(
        stats=cache.stats(),
        entries=cache.list(wanted, sort=sort, limit=MOST_ENTRIES),
        days=tuple(days[-DAYS_SHOWN:]),
    )


def _choice(given: Mapping[str, str]) -> dict[str, str]:
    """The conditions that were given, by name; an empty one is none."""
    names = ("provider", "phase", "session", "older_than_days", "expired")
    return {name: given.get(name, "").strip() for name in names}


def _filter(chosen: Mapping[str, str]) -> EntryFilter:
    """Raises :class:`~aigenflow.core.errors.InputError` for a number that is none."""
    try:
        days = int(chosen["older_than_days"] or 0)
        if not 0 <= days <= MOST_DAYS:
            raise ValueError(days)
        return EntryFilter(
            provider=chosen["provider"] or None,
            phase=int(chosen["phase"]) if chosen["phase"] else None,
            session=chosen["session"] or None,
            expired=True if chosen["expired"] else None,
            older_than=timedelta(days=days) if days else None,
        )
    except ValueError as error:
        raise InputError(
            _("The choice of entries cannot be read."), hint=_("Load the page again.")
        ) from error


def _manager(app: App) -> CacheManager:
    if app.cache is None:
        raise ConfigError(
            _("Caching is switched off."),
            hint=_("Switch it on: aigenflow config set caching_enabled true"),
        )
    return app.cache


def _no_entry(key: str) -> InputError:
    return InputError(
        _("There is no entry {key} in the cache.").format(key=key[:40]),
        hint=_("The page of the cache lists the entries."),
    )
