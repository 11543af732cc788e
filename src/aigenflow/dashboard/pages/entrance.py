"""The way in, and how the pages look."""

from __future__ import annotations

from gettext import gettext as _
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from aigenflow.dashboard.forms import TOKEN, Form, read_form
from aigenflow.dashboard.site import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, site_of

_YEAR_S = 365 * 24 * 3600


async def show(request: Request) -> Response:
    """The page that exchanges the token of the launch address for a cookie."""
    return site_of(request).page(request, "enter", problem="")


async def knock(request: Request) -> Response:
    """The same page for whoever comes without a cookie."""
    return site_of(request).page(request, "enter", HTTPStatus.UNAUTHORIZED, problem="")


async def enter(request: Request) -> Response:
    """Let in whoever has the token."""
    form, site = await read_form(request), site_of(request)
    given = form.get(TOKEN, "").strip().rpartition("#")[2]
    if not site.access.enter(given):
        problem = _("This token is not that of the dashboard, or it was used before.")
        return site.page(request, "enter", HTTPStatus.UNAUTHORIZED, problem=problem)
    response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    response.set_cookie(
        site.access.cookie_name, site.access.cookie, httponly=True, samesite="strict", path="/"
    )
    return response


async def prefer(_request: Request, form: Form) -> Response:
    """Remember a language or a theme in this browser."""
    back = form.get("back", "/")
    is_ours = back.startswith("/") and not back.startswith(("//", "/\\"))
    response = RedirectResponse(back if is_ours else "/", HTTPStatus.SEE_OTHER)
    for name, cookie, known in (
        ("language", LANGUAGE_COOKIE, ("ko", "en")),
        ("theme", THEME_COOKIE, THEMES),
    ):
        if form.get(name) in known:
            response.set_cookie(
                cookie, form[name], max_age=_YEAR_S, httponly=True, samesite="strict", path="/"
            )
    return response
