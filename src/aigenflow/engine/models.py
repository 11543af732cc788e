"""What a session remembers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from aigenflow.core.models import (
    AgentType,
    DocumentType,
    GatewayResponse,
    Language,
    ProcessingChoice,
)

SCHEMA_VERSION = 1


class SessionStatus(StrEnum):
    """Where a session stands. ``INTERRUPTED`` is a ``RUNNING`` one whose process is gone."""

    RUNNING = "running"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"


class SessionSpec(BaseModel):
    """What was asked for. It never changes during the life of a session.

    ``brief`` is the user's text, verbatim; ``parent`` is the session this one branched from.
    ``processing`` is how its answers are bought, ``deadline`` (aware) when the document is wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: str
    topic: str
    document_type: DocumentType
    template: str
    language: Language
    brief: str = ""
    created: datetime
    parent: str = ""
    from_phase: int = 1
    processing: ProcessingChoice = ProcessingChoice.LIVE
    deadline: datetime | None = None


class StepRecord(BaseModel):
    """One finished task.

    ``fingerprint`` identifies what was asked: a step whose question changed is asked again.
    ``actor`` is the agent that answered for ``agent``; ``fell_back_because`` says why, where the
    first choice failed. ``content_sha256`` is that of the text as the agent gave it; where the
    text now differs, a person edited it (``edited``). ``seen_sha256`` is that of the last edit
    taken over, empty where there was none: only a text that differs from it is a new edit.
    ``omissions`` say which context the agent did not hear in full.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: int
    task: str
    agent: AgentType
    actor: AgentType
    fingerprint: str
    content_sha256: str
    content: str
    response: GatewayResponse
    fell_back_because: str = ""
    omissions: tuple[str, ...] = ()
    finished: datetime
    edited: bool = False
    seen_sha256: str = ""


class PhaseResults(BaseModel):
    """The content of ``phaseN/results.json``."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    phase: int
    name: str
    results: dict[str, StepRecord] = Field(default_factory=dict)


class SessionState(BaseModel):
    """The content of ``pipeline_state.json``.

    ``attempts`` counts, per step, the runs that began it and did not finish it. ``published`` has,
    per document, the digests of what the program wrote: the last text, and the next one while it
    is being written.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    spec: SessionSpec
    status: SessionStatus = SessionStatus.RUNNING
    current_phase: int = 0
    completed_phases: list[int] = Field(default_factory=list)
    attempts: dict[str, int] = Field(default_factory=dict)
    published: dict[str, list[str]] = Field(default_factory=dict)
    message: str = ""
    hint: str = ""
    updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedSession:
    """A session whose state cannot be read, and what is wrong with it."""

    session: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The sessions of an output folder, newest first, and those that cannot be read, by name."""

    readable: tuple[SessionState, ...]
    damaged: tuple[DamagedSession, ...]


def plain_text(text: str) -> str:
    """``text`` without what editors change unasked: line endings, white space at the end."""
    return text.replace("\r\n", "\n").rstrip()


def digest(text: str) -> str:
    """SHA-256 of the plain ``text``, 64 hex digits. Lone surrogates are themselves."""
    return hashlib.sha256(plain_text(text).encode("utf-8", "surrogatepass")).hexdigest()
