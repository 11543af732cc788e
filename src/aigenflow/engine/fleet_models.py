"""The nouns of a fleet: its workers, and where its sessions stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from aigenflow.engine.models import SessionSpec, StepRecord


class FleetStatus(StrEnum):
    """Where a session of a fleet stands. ``STOPPED`` says why; it and ``CANCELLED`` can resume."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class StepOutput(BaseModel):
    """What a finished step leaves in the engine's history, as JSON."""

    model_config = ConfigDict(frozen=True)

    phase_name: str
    record: StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's right to a session.

    ``run`` counts the times it was taken, by anybody: only the last one may write. ``tries`` counts
    those since a step of it was finished.
    """

    session: str
    run: int
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetWorker:
    """One process that takes sessions.

    ``owner`` identifies the process to the ledger. ``silent_s`` is how long nothing was heard of
    it, in seconds; ``sessions`` is how many it has.
    """

    id: str
    version: str
    owner: str
    silent_s: float = 0.0
    sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSession:
    """Where one session stands. ``phase`` is the one under way; ``runs`` counts its workers."""

    spec: SessionSpec
    version: str
    status: FleetStatus
    worker: str
    phase: int
    runs: int
    message: str
    hint: str
    updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a finished session published: documents and files beside them by name, its metadata."""

    documents: Mapping[str, bytes] = field(default_factory=dict)
    side_files: Mapping[str, bytes] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The whole fleet: how many sessions stand where, by version and status, and the workers."""

    counts: Mapping[tuple[str, FleetStatus], int]
    workers: tuple[FleetWorker, ...]

    def count(self, status: FleetStatus) -> int:
        """Sessions of all versions."""
        return sum(n for (_version, each), n in self.counts.items() if each is status)

    @property
    def unserved(self) -> dict[str, int]:
        """Sessions that wait for a version no worker has, by version."""
        served = {worker.version for worker in self.workers}
        open_ = (FleetStatus.WAITING, FleetStatus.RUNNING)
        lost: dict[str, int] = {}
        for (version, status), count in self.counts.items():
            if status in open_ and version not in served:
                lost[version] = lost.get(version, 0) + count
        return lost
