"""The contract between the router and every way of reaching a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from aigenflow.core.models import AgentRequest, ContextDocument, GatewayResponse, Route

OnText: TypeAlias = Callable[[int], None]
"""Told the number of characters received so far, while an answer streams in."""


def ignore_text(characters: int) -> None:
    """An ``OnText`` that does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Limits of one call, in seconds.

    ``first_event_s`` runs from sending to the first event; ``idle_s`` between two events;
    ``total_s`` over the whole call.
    """

    connect_s: float = 5.0
    first_event_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 900.0


class Gateway(Protocol):
    """One way of reaching a model.

    ``send`` returns every answer that the provider finished, also an incomplete or refused one:
    its ``finish_reason`` tells, and its tokens are billed. It raises a
    :class:`~aigenflow.core.errors.GatewayError` where no answer came.
    """

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask once."""
        ...

    async def list_models(self) -> tuple[str, ...]:
        """Names of the models the key may use: costs nothing, proves address and key.

        Raises a ``GatewayError``.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def render_context(documents: tuple[ContextDocument, ...]) -> str:
    """The context as one text: each document between two markers that its text cannot forge.

    The marker holds a digest of the text, so that a document that imitates an end marker (text
    from the web is not to be trusted) does not match its own.
    """
    return "\n\n".join(_delimited(document) for document in documents)


def _delimited(document: ContextDocument) -> str:
    mark = hashlib.sha256(document.text.encode("utf-8", "replace")).hexdigest()[:12]
    title = " ".join(document.title.split())
    return (
        f"<<<DATA {mark} id={document.id} kind={document.kind.value} title={title}>>>\n"
        f"{document.text}\n<<<END {mark}>>>"
    )
