"""What a session was asked: its questions, put together again from its results.

The journal keeps answers and the fingerprint of each question, not the question's text: that
follows from the assignment, the templates and the earlier answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from aigenflow.agents.router import Answer, Fit, as_it_is
from aigenflow.core.canonical import fingerprint
from aigenflow.core.errors import PhaseFailedError
from aigenflow.core.models import AgentRequest, what_matters
from aigenflow.engine.models import StepRecord
from aigenflow.pipeline.base import PhaseContext
from aigenflow.pipeline.orchestrator import run_phases
from aigenflow.pipeline.rehearsal import Rehearsal


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A question of a session, as its model heard it.

    ``as_asked`` is false where a template or an earlier text has changed since.
    """

    request: AgentRequest
    as_asked: bool


async def recall_questions(
    records: Sequence[StepRecord], run: PhaseContext, rehearsal: Rehearsal
) -> Mapping[tuple[int, str], Recalled]:
    """The questions of a session by phase and task, up to the first that has no answer yet.

    ``rehearsal`` knows the assignment and the cast; nobody is asked.
    """
    memory = _Memory(rehearsal, records)
    with suppress(_NotAnsweredError):
        await run_phases(replace(run, runner=rehearsal, asker=memory))
    return memory.recalled


class _NotAnsweredError(PhaseFailedError):
    """The session got no further."""


class _Memory:
    """An asker that answers from a session's results."""

    def __init__(self, rehearsal: Rehearsal, records: Sequence[StepRecord]) -> None:
        self.cast = rehearsal.cast
        self.expecting = rehearsal.expecting
        self.discard = rehearsal.discard
        self.recalled: dict[tuple[int, str], Recalled] = {}
        self._records = {(record.phase, record.task): record for record in records}

    async def ask(self, request: AgentRequest, fit: Fit = as_it_is) -> Answer:
        """The remembered answer. Raises where there is none."""
        record = self._records.get((request.phase, request.task))
        if record is None:
            raise _NotAnsweredError("")
        route = self.cast.routes[request.agent]
        self.recalled[request.phase, request.task] = Recalled(
            request=fit(request, route),
            as_asked=fingerprint(what_matters(request)) == record.fingerprint,
        )
        answer = record.response.model_copy(update={"content": record.content})
        return Answer(response=answer, route=route)
