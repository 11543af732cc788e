"""How far a run is: every task of every phase, from what is remembered and what is under way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from aigenflow.core.models import Backend, ServedFrom
from aigenflow.dashboard.live import LiveRun
from aigenflow.dashboard.sessions import Entry
from aigenflow.engine.models import StepRecord
from aigenflow.pipeline.orchestrator import PHASES

CHARACTERS_PER_TOKEN = 3

State = Literal["done", "asked", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """One task. ``source`` is a word of ``ServedFrom``, or ``offline``; tokens of what was used.

    ``tokens_so_far`` is a guess from the text that has arrived; ``elapsed_s`` is in seconds.
    """

    phase: int
    name: str
    agent: str
    state: State
    model: str = ""
    source: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    citations: int = 0
    finished: datetime | None = None
    elapsed_s: float = 0.0
    tokens_so_far: int = 0
    is_edited: bool = False
    fell_back_because: str = ""
    omissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseView:
    """One phase with its tasks."""

    number: int
    name: str
    tasks: tuple[TaskView, ...]

    @property
    def state(self) -> State:
        """Done when every task is, open while none has begun."""
        states = {task.state for task in self.tasks}
        if states == {"done"}:
            return "done"
        return "open" if states == {"open"} else "asked"

    @property
    def done(self) -> int:
        """How many tasks are done."""
        return sum(task.state == "done" for task in self.tasks)


def phases_of(records: Sequence[StepRecord], live: LiveRun | None) -> tuple[PhaseView, ...]:
    """All five phases of a session, as far as they are known now."""
    by_place = {(record.phase, record.task): record for record in records}
    return tuple(
        PhaseView(
            number=phase.number,
            name=phase.name,
            tasks=tuple(_tasks(phase.number, by_place, live, _planned(phase.number))),
        )
        for phase in PHASES
    )


def steps_of(entry: Entry) -> tuple[State, ...]:
    """The state of each phase, from where the session stands alone."""
    return tuple(
        "done"
        if number <= entry.phases_done
        else "asked"
        if entry.is_going_on and number == entry.phases_done + 1
        else "open"
        for number in range(1, len(PHASES) + 1)
    )


def _planned(phase: int) -> dict[str, str]:
    """The tasks that every run has, and the agent of each."""
    return {task.name: task.agent.value for task in PHASES[phase - 1].tasks}


def _tasks(
    phase: int,
    records: dict[tuple[int, str], StepRecord],
    live: LiveRun | None,
    planned: dict[str, str],
) -> Iterator[TaskView]:
    """The planned tasks, then those that came on top (corrections, revisions)."""
    asked = live.tasks if live else {}
    extra = [name for number, name in (*records, *asked) if number == phase and name not in planned]
    for name in dict.fromkeys((*planned, *extra)):
        record, underway = records.get((phase, name)), asked.get((phase, name))
        if record is not None and underway is None:
            yield done_task(record)
        elif underway is not None:
            yield TaskView(
                phase=phase,
                name=name,
                agent=underway.route.actor.value,
                model=underway.route.model,
                state="asked",
                elapsed_s=time.monotonic() - underway.started,
                tokens_so_far=underway.characters // CHARACTERS_PER_TOKEN,
            )
        else:
            yield TaskView(phase=phase, name=name, agent=planned[name], state="open")


def done_task(record: StepRecord) -> TaskView:
    """A task that is remembered."""
    response = record.response
    is_hit = response.served_from is ServedFrom.CACHE
    offline = response.backend is Backend.OFFLINE
    return TaskView(
        phase=record.phase,
        name=record.task,
        agent=record.actor.value,
        model="" if offline else response.model,
        state="done",
        source="offline" if offline else response.served_from.value,
        input_tokens=response.input_tokens,
        output_tokens=response.output_tokens,
        cost=Decimal(0) if is_hit or offline else response.estimated_cost,
        citations=len(response.citations),
        finished=record.finished,
        is_edited=record.edited,
        fell_back_because=record.fell_back_because,
        omissions=record.omissions,
    )
