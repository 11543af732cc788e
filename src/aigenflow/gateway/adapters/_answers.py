"""Reading an answer's JSON strictly: what is not as promised is an error that names the place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from gettext import gettext as _
from typing import Annotated, NoReturn, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aigenflow.core.models import AgentRequest, GatewayResponse, Json
from aigenflow.gateway.adapters._faults import malformed
from aigenflow.gateway.adapters._wire import LARGEST_COUNT


class Wire(BaseModel):
    """A part of a provider's answer: what we read of it. The rest is ignored."""

    model_config = ConfigDict(frozen=True)


Count: TypeAlias = Annotated[
    int, BeforeValidator(lambda count: count or 0), Field(ge=0, le=LARGEST_COUNT)
]
"""A number of tokens or calls, where ``null`` means none."""


def _encodable(text: str) -> str:
    text.encode()
    return text


Text: TypeAlias = Annotated[str, AfterValidator(_encodable)]
"""A string that can be written out again: without half a surrogate pair."""

WireT = TypeVar("WireT", bound=Wire)


def read_object(text: str | bytes, *, provider: str) -> dict[str, Json]:
    """The JSON object in ``text``.

    Raises ``MalformedAnswerError``, also on what could not be stored: NaN, half surrogate pairs.
    """
    try:
        words = text if isinstance(text, str) else text.decode()
        value = json.loads(words, parse_constant=_refuse)
        if "\\ud" in words.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise malformed(provider, _("it is not JSON")) from None
    if not isinstance(value, dict):
        raise malformed(provider, _("it is not a JSON object"))
    return value


def validated(model: type[WireT], raw: Mapping[str, Json], *, provider: str) -> WireT:
    """``raw`` as ``model``. Raises ``MalformedAnswerError`` that names the first wrong place."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise malformed(provider, f"{place}: {first['msg']}") from None


def stamped(
    response: GatewayResponse, request: AgentRequest, *, latency_s: float
) -> GatewayResponse:
    """``response`` with what its JSON cannot know: who asked, and how long it took."""
    citations = tuple(
        citation.model_copy(update={"agent": request.agent}) for citation in response.citations
    )
    return response.model_copy(
        update={"agent": request.agent, "citations": citations, "latency_s": latency_s}
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
