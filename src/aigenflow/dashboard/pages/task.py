"""One task of a run: what was asked, what was answered, and where the answer came from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aigenflow.cache.models import Entry as CacheEntry
from aigenflow.cache.models import Explanation
from aigenflow.core.errors import AigenflowError
from aigenflow.core.models import ServedFrom
from aigenflow.dashboard.pages.run import as_link
from aigenflow.dashboard.progress import done_task
from aigenflow.dashboard.site import Site, site_of
from aigenflow.pipeline.recollection import Recalled


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where an answer came from. ``entry`` is what the cache holds for the question now.

    ``explanation`` names the nearest entry of another question, and what differs.
    """

    is_hit: bool
    entry: CacheEntry | None = None
    explanation: Explanation | None = None


async def show(request: Request) -> Response:
    """The page."""
    site, name = site_of(request), request.path_params["session"]
    place = (request.path_params["phase"], request.path_params["task"])
    entry = await asyncio.to_thread(site.sessions.read, name)
    records = await asyncio.to_thread(site.sessions.records, name)
    record = next((each for each in records if (each.phase, each.task) == place), None)
    if record is None:
        raise HTTPException(404)
    recalled, problem = await _question(site, name, place)
    is_hit = record.response.served_from is ServedFrom.CACHE
    citations = [(each, as_link(each.url)) for each in record.response.citations]
    return site.page(
        request,
        "task",
        entry=entry,
        record=record,
        task=done_task(record),
        recalled=recalled,
        problem=problem,
        origin=await _provenance(site, recalled, is_hit),
        citations=citations,
    )


async def _question(
    site: Site, session: str, place: tuple[int, str]
) -> tuple[Recalled | None, str]:
    """The question, or why it cannot be put together again."""
    if site.sessions.shared:
        return None, ""
    try:
        questions: Mapping[tuple[int, str], Recalled] = await site.app.questions(session)
    except AigenflowError as error:
        return None, error.message
    return questions.get(place), ""


async def _provenance(site: Site, recalled: Recalled | None, is_hit: bool) -> Provenance:
    """What the cache says of the question; a question that has changed says nothing."""
    if recalled is None or not recalled.as_asked or site.app.cache is None:
        return Provenance(is_hit=is_hit)
    try:
        explanation = await site.app.why(recalled.request)
    except AigenflowError:
        return Provenance(is_hit=is_hit)
    entry = site.app.cache.show(explanation.key) if explanation.found else None
    return Provenance(is_hit=is_hit, entry=entry, explanation=explanation)
