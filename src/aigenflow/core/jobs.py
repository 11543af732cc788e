"""The nouns of the providers' batch jobs: many requests handed in together, at a discount."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from aigenflow.core.errors import GatewayError
from aigenflow.core.models import AgentRequest, GatewayResponse, Route


class JobState(StrEnum):
    """Where a provider's job stands; the states of all providers map onto these.

    ``EXPIRED`` and ``CANCELLED`` jobs may have results of what was finished before. A ``FAILED``
    one was turned down as a whole: no item ran and nothing is billed.
    """

    WAITING = "waiting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    ENDED = "ended"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether the provider will do nothing more."""
        return self in _OVER


_OVER = frozenset({JobState.ENDED, JobState.EXPIRED, JobState.CANCELLED, JobState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobItem:
    """One request of a job. ``id`` is the provider's ``custom_id``: 1-64 of ``[A-Za-z0-9_-]``."""

    id: str
    request: AgentRequest
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What a provider says about a job.

    ``job`` is the provider's id of it; ``tag`` is ours, ``None`` where the provider keeps no tag
    and only the ids of the results can tell. Counts are items. ``problem`` is the provider's
    reason for a ``FAILED`` job.
    """

    job: str
    tag: str | None
    state: JobState
    submitted: datetime | None = None
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """What became of one item: ``response`` (``served_from`` is batch) or ``error``.

    An item that never ran (the job expired or was cancelled first) has a
    :class:`~aigenflow.core.errors.JobItemNotRunError`: nothing was billed for it.
    """

    id: str
    response: GatewayResponse | None = None
    error: GatewayError | None = None
