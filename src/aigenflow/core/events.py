"""What happens during a run, told to whoever watches. Watching changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from aigenflow.core.jobs import JobState
from aigenflow.core.models import AgentType, GatewayResponse, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A session begins or goes on. ``notices`` are sentences for the user, in their language."""

    session: str
    topic: str
    routes: tuple[Route, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted:
    """A phase begins."""

    phase: int
    name: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted:
    """A task is about to be asked."""

    phase: int
    task: str
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class TextArrived:
    """An answer streams in; ``characters`` so far."""

    phase: int
    task: str
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLookedUp:
    """An answer came from the response cache (``hit``), or was bought because it was not there."""

    phase: int
    task: str
    hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack:
    """An agent is down; ``to`` takes over."""

    phase: int
    task: str
    agent: AgentType
    to: Route
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShortened:
    """Earlier results did not fit the model; ``omissions`` say what was left out."""

    phase: int
    task: str
    omissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished:
    """A task is done; ``reused`` where an earlier run had already done it."""

    phase: int
    task: str
    response: GatewayResponse
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWatched:
    """A provider's batch job, by our name of it: ``done`` of its ``total`` items have ended."""

    job: str
    state: JobState
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something the user should know, in their language; the run goes on."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The document is there."""

    session: str
    folder: Path
    document: Path


Event: TypeAlias = (
    RunStarted
    | PhaseStarted
    | TaskStarted
    | TextArrived
    | CacheLookedUp
    | FellBack
    | ContextShortened
    | TaskFinished
    | JobWatched
    | Warned
    | RunFinished
)

OnEvent: TypeAlias = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """An ``OnEvent`` that does nothing."""
