"""OpenAI, by the Responses interface."""

from __future__ import annotations

from typing import ClassVar

from aigenflow.core.models import AgentRequest, Backend, GatewayResponse, Json, Route
from aigenflow.gateway.adapters._responses import (
    ResponsesGateway,
    build_request,
    check,
    cite_annotations,
    refusal_text,
    text_parts,
    to_response,
)


def build_body(request: AgentRequest, route: Route) -> dict[str, Json]:
    """The JSON of the request: a live call adds only ``stream``, a batch file takes it as it is.

    ``store`` is off, since a brief is confidential and nothing here reads an answer back by id.
    """
    return {"store": False, **build_request(request, route)}


def parse(raw: dict[str, Json]) -> GatewayResponse:
    """The normal form of a final response object.

    Raises a ``GatewayError`` for a failed response and ``MalformedAnswerError`` for anything that
    is no response object.
    """
    check(raw, Backend.OPENAI)
    content, citations = cite_annotations(text_parts(raw))
    return to_response(raw, Backend.OPENAI, content or refusal_text(raw), citations)


class OpenAIGateway(ResponsesGateway):
    """A :class:`~aigenflow.gateway.base.Gateway` to OpenAI."""

    backend: ClassVar[Backend] = Backend.OPENAI
    default_base_url: ClassVar[str] = "https://api.openai.com/v1"
    build = staticmethod(build_body)
    read = staticmethod(parse)
