"""OpenAI, by the Responses interface."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING, ClassVar

from aigenflow.core.models import AgentRequest, Backend, GatewayResponse, Json, Processing, Route
from aigenflow.gateway.adapters._faults import malformed
from aigenflow.gateway.adapters._openai_gateway import FLEX
from aigenflow.gateway.adapters._responses import (
    ResponsesGateway,
    build_request,
    check,
    cite_annotations,
    refusal_text,
    text_parts,
    to_response,
)
from aigenflow.gateway.adapters._wire import as_dict, as_text
from aigenflow.gateway.deadlines import within

if TYPE_CHECKING:
    from openai._types import RequestOptions


def build_body(request: AgentRequest, route: Route) -> dict[str, Json]:
    """The JSON of the request: a live call adds only ``stream``, a batch file takes it as it is.

    ``store`` is off, since a brief is confidential and nothing here reads an answer back by id.
    """
    flex = {"service_tier": FLEX} if request.processing is Processing.FLEX else {}
    return {"store": False, **flex, **build_request(request, route)}


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

    async def upload(self, data: bytes, name: str) -> str:
        """Hand in the requests of a batch job and return the id of their file."""
        client = self._open()
        form = {"Content-Type": "multipart/form-data"}
        options: RequestOptions = {
            **self._options,
            "headers": {**self._options.get("headers", {}), **form},
        }
        with self._translated():
            call = client.post(
                "/files",
                cast_to=object,
                body={"purpose": "batch"},
                files=[("file", (name, data, "application/jsonl"))],
                options=options,
            )
            raw = await within(call, self._timeouts.total_s, provider=self.backend)
        file = as_text(as_dict(raw).get("id"))
        if not file:
            raise malformed(self.backend, _("it names no file"))
        return file
