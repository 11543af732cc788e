"""The contract between the pipeline and whatever runs it durably."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from aigenflow.engine.models import SessionSpec, StepRecord

NO_FILES: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One task to be done once: its place, and the fingerprint of the question."""

    phase: int
    phase_name: str
    task: str
    fingerprint: str

    @property
    def name(self) -> str:
        """``phase1.brainstorm``."""
        return f"phase{self.phase}.{self.task}"


class Runner(Protocol):
    """Runs named steps once and remembers their results, whatever happens to the process."""

    @property
    def spec(self) -> SessionSpec:
        """What was asked for."""
        ...

    def recall(self, step: Step) -> StepRecord | None:
        """The remembered result, unless the question has changed since."""
        ...

    async def run(self, step: Step, action: Callable[[], Awaitable[StepRecord]]) -> StepRecord:
        """Run ``action`` and remember its result before returning it.

        Raises :class:`~aigenflow.core.errors.JournalWriteError` where it cannot be made durable
        and :class:`~aigenflow.core.errors.DeadLetterError` where it has failed too often.
        """
        ...

    def phase_done(self, phase: int) -> None:
        """Every task of ``phase`` is remembered."""
        ...

    def stopped(self, message: str, hint: str) -> None:
        """The run stops here and can be resumed."""
        ...

    def publish(
        self,
        documents: Mapping[str, bytes],
        metadata: Mapping[str, Any],
        side_files: Mapping[str, bytes] = NO_FILES,
    ) -> Path:
        """Keep the finished documents by file name; return their folder.

        ``side_files`` stand beside that folder, also by name.
        """
        ...
