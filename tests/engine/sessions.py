"""Sessions, steps and records for the tests of the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aigenflow.core.models import AgentType, DocumentType, GatewayResponse, Language
from aigenflow.engine.models import SessionSpec, StepRecord, digest
from aigenflow.engine.runner import Step

STEP = Step(phase=1, phase_name="framing", task="brainstorm", fingerprint="f1")
LATER = Step(phase=1, phase_name="framing", task="validate", fingerprint="f2")


def a_spec(session: str = "s1", **changes: object) -> SessionSpec:
    spec = SessionSpec(
        session=session,
        topic="a topic to write on",
        document_type=DocumentType.BIZPLAN,
        template="default",
        language=Language.EN,
        created=datetime(2026, 11, 22, tzinfo=UTC),
    )
    return spec.model_copy(update=changes)


def a_record(step: Step, content: str = "an answer") -> StepRecord:
    return StepRecord(
        phase=step.phase,
        task=step.task,
        agent=AgentType.CHATGPT,
        actor=AgentType.CHATGPT,
        fingerprint=step.fingerprint,
        content=content,
        content_sha256=digest(content),
        response=GatewayResponse(content=content),
        finished=datetime(2026, 11, 22, tzinfo=UTC),
    )


def answering(record: StepRecord) -> Callable[[], Awaitable[StepRecord]]:
    async def answer() -> StepRecord:
        return record

    return answer


def failing(error: BaseException) -> Callable[[], Awaitable[StepRecord]]:
    async def fail() -> StepRecord:
        raise error

    return fail
