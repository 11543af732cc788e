"""What a session remembers."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from aigenflow.core.models import AgentType, DocumentType, GatewayResponse, Language

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


class StepRecord(BaseModel):
    """One finished task.

    ``fingerprint`` identifies what was asked: a step whose question changed is asked again.
    ``actor`` is the agent that answered for ``agent``; ``fell_back_because`` says why, where the
    first choice failed. ``content_sha256`` is that of the text as the agent gave it; where the
    text now differs, a person edited it (``edited``). ``omissions`` say which context the agent
    did not hear in full.
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


class PhaseResults(BaseModel):
    """The content of ``phaseN/results.json``."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    phase: int
    name: str
    results: dict[str, StepRecord] = Field(default_factory=dict)


class SessionState(BaseModel):
    """The content of ``pipeline_state.json``.

    ``attempts`` counts, per step, the runs that began it and did not finish it.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    spec: SessionSpec
    status: SessionStatus = SessionStatus.RUNNING
    current_phase: int = 0
    completed_phases: list[int] = Field(default_factory=list)
    attempts: dict[str, int] = Field(default_factory=dict)
    message: str = ""
    hint: str = ""
    updated: datetime


def digest(text: str) -> str:
    """SHA-256 of ``text``, 64 hex digits. Lone surrogates count as what they stand for."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
