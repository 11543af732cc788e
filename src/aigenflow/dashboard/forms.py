"""Reading what a form sends. Nothing is changed without the token of our forms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from gettext import gettext as _
from typing import TypeAlias
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from aigenflow.core.errors import InputError

MAX_BYTES = 4 * 1024 * 1024
MAX_FIELDS = 40
TOKEN = "token"  # noqa: S105 (the name of a field)

Form: TypeAlias = dict[str, str]
Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
FormHandler: TypeAlias = Callable[[Request, Form], Awaitable[Response]]


async def read_form(request: Request) -> Form:
    """The fields of a form, the last of each name.

    Raises :class:`~aigenflow.core.errors.InputError` where it is too large, or none.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise _unusable()
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise _unusable() from error
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def _unusable() -> InputError:
    return InputError(
        _("The form cannot be read."),
        hint=_("A form may hold up to {count} MB of text.").format(count=MAX_BYTES // 1024**2),
    )


def with_form(handler: FormHandler) -> Handler:
    """``handler`` for a form that carries our token.

    Raises :class:`~aigenflow.core.errors.InputError` for any other.
    """

    async def handle(request: Request) -> Response:
        form = await read_form(request)
        if not request.app.state.site.access.is_form(form.pop(TOKEN, "")):
            raise InputError(
                _("The form does not come from this dashboard."),
                hint=_("Go back, load the page again, and send it once more."),
            )
        return await handler(request, form)

    return handle
