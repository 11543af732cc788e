"""The contract between the router and every way of reaching a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from aigenflow.core.jobs import ItemOutcome, JobItem, JobStatus
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


class JobGateway(Protocol):
    """One provider's batch jobs: many requests handed in together, at a discount.

    Every method raises a ``GatewayError``; ``JobUnknownError`` where the provider does not know
    the job, or keeps its results no longer.
    """

    @property
    def max_items(self) -> int:
        """Items that one job takes."""
        ...

    @property
    def max_bytes(self) -> int:
        """Bytes of JSON that one job takes."""
        ...

    async def submit(self, items: Sequence[JobItem], tag: str) -> JobStatus:
        """Make one job of ``items``, all for one model. Tried exactly once.

        An error is ``possibly_billed`` where the job may exist all the same; where it is not, the
        job surely does not. The ids of the items differ from each other.
        """
        ...

    async def find(self, tag: str, *, since: datetime, size: int) -> tuple[JobStatus, ...]:
        """The jobs at the provider that may be the one submitted with ``tag``.

        Where the provider keeps tags, those that carry it. Where it keeps none, candidates (their
        ``tag`` is ``None``): submitted at or after ``since`` (aware) with ``size`` items. Only
        the ids of their results can confirm one.
        """
        ...

    async def status(self, job: str) -> JobStatus:
        """How the job stands."""
        ...

    async def results(self, job: str) -> tuple[ItemOutcome, ...]:
        """The outcomes of a job that is over, exactly as the provider gave them.

        In any order; ids may be missing, double or unknown. What has no readable id is left out.
        ``agent`` of a response and of its citations is open: only the caller knows who asked.
        """
        ...

    async def cancel(self, job: str) -> None:
        """Ask the provider to stop. A job that is over already stays as it is."""
        ...

    async def delete(self, job: str) -> None:
        """Delete what the job left at the provider: the files of its requests and its answers.

        Nothing while it is not over. What is not there any more is no error.
        """
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
