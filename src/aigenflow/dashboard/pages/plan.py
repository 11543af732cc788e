"""Planning a document: a form, what it would cost, and only then the start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from gettext import gettext as _
from http import HTTPStatus
from urllib.parse import quote as quoted

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import AigenflowError, InputError
from aigenflow.core.language import spoken
from aigenflow.core.models import DocumentType, Language, ProcessingChoice
from aigenflow.dashboard.forms import Form
from aigenflow.dashboard.security import new_token
from aigenflow.dashboard.site import Site, site_of
from aigenflow.monitoring.zones import zone_named
from aigenflow.pipeline.assignment import Assignment, check_topic
from aigenflow.pipeline.planner import Plan
from aigenflow.pipeline.scheduling import parse_deadline
from aigenflow.templates.brief import read_brief

FIELDS = ("topic", "template", "language", "processing", "deadline", "brief")


async def show(request: Request) -> Response:
    """The empty form."""
    return _page(request, _filled(site_of(request), {}))


async def quote(request: Request, form: Form) -> Response:
    """The form again, with what the run would cost. Nothing is bought."""
    site = site_of(request)
    filled = _filled(site, form)
    try:
        plan = await site.app.plan(_assignment(site, filled))
    except AigenflowError as error:
        return _page(request, filled, error=error, code=HTTPStatus.BAD_REQUEST)
    return _page(request, filled, plan=plan)


async def start(request: Request, form: Form) -> Response:
    """Begin the run; once, however often the form of a quotation is sent."""
    site = site_of(request)
    filled, order = _filled(site, form), form.get("order") or new_token()
    try:
        session = await _begin(site, order, filled)
    except AigenflowError as error:
        return _page(request, filled, error=error, code=HTTPStatus.BAD_REQUEST)
    return RedirectResponse(f"/runs/{quoted(session, safe='')}", HTTPStatus.SEE_OTHER)


def _begin(site: Site, order: str, filled: Mapping[str, str]) -> asyncio.Task[str]:
    """The start of a run; that of an earlier form of the same order, unless it failed."""
    known = site.orders.get(order)
    if known is None or (known.done() and known.exception()):
        beginning = site.sessions.start(_assignment(site, filled))
        known = site.orders[order] = asyncio.ensure_future(beginning)
    return known


def _page(
    request: Request,
    filled: Mapping[str, str],
    plan: Plan | None = None,
    error: AigenflowError | None = None,
    code: int = HTTPStatus.OK,
) -> Response:
    site = site_of(request)
    return site.page(
        request,
        "plan",
        code,
        filled=filled,
        plan=plan,
        order=new_token(),
        error=error,
        templates=site.app.templates(Language(spoken())),
        types=[each.value for each in DocumentType],
        choices=[each.value for each in ProcessingChoice],
    )


def _filled(site: Site, form: Mapping[str, str]) -> dict[str, str]:
    """The form's fields; those that it lacks as the settings have them."""
    usual = {"template": "default", "processing": site.app.settings.batch.processing.value}
    return {name: form.get(name, usual.get(name, "")) for name in FIELDS}


def _assignment(site: Site, filled: Mapping[str, str]) -> Assignment:
    """What the form asks for. Raises :class:`~aigenflow.core.errors.UsageError`."""
    topic = check_topic(filled["topic"])
    try:
        language = Language(filled["language"] or Language.of(topic))
        known = site.app.templates(language)
        template = next(each for each in known if each.name == filled["template"])
        processing = ProcessingChoice(filled["processing"])
    except (ValueError, StopIteration) as error:
        raise InputError(
            _("The form holds a choice that there is not."), hint=_("Load the page again.")
        ) from error
    brief = filled["brief"].strip()
    clock, zone = SystemClock(), zone_named(site.app.settings.budget.timezone)
    deadline = filled["deadline"].strip()
    return Assignment(
        topic=topic,
        document_type=template.document_type,
        template=template.name,
        language=language,
        brief=read_brief(brief.encode(), "brief.md") if brief else "",
        processing=processing,
        deadline=parse_deadline(deadline, clock.now(), zone) if deadline else None,
    )
