from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aigenflow.core import files
from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import (
    DeadLetterError,
    InputError,
    JournalWriteError,
    SessionDamagedError,
    SessionNotFoundError,
)
from aigenflow.core.files import FileOps
from aigenflow.core.models import AgentType, DocumentType, GatewayResponse, Language
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionSpec, SessionStatus, StepRecord, digest
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


@pytest.fixture
def engine(tmp_path: Path) -> LocalEngine:
    return LocalEngine(tmp_path / "output", SystemClock())


@pytest.fixture
async def session(engine: LocalEngine) -> LocalSession:
    session = engine.create(a_spec())
    await session.run(STEP, answering(a_record(STEP)))
    return session


async def test_a_finished_step_is_remembered_by_the_next_process(
    engine: LocalEngine, session: LocalSession
) -> None:
    """What was answered once is recalled as long as the question is the same."""
    session.close()
    again = engine.open("s1")
    assert again.recall(STEP) == a_record(STEP)
    assert again.recall(LATER) is None
    again.close()


async def test_a_step_whose_question_changed_is_asked_again_and_named(
    engine: LocalEngine, session: LocalSession
) -> None:
    """Answers to different questions are never mixed without a word."""
    changed = Step(phase=1, phase_name="framing", task="brainstorm", fingerprint="other")
    assert session.recall(changed) is None
    assert "phase1.brainstorm" in session.notices[0]


@pytest.mark.parametrize("place", ["md", "json"])
async def test_a_text_edited_by_hand_counts(
    engine: LocalEngine, session: LocalSession, place: str
) -> None:
    """An edit in either place is the step's result from then on, and is said so."""
    session.close()
    if place == "md":
        (session.folder / "phase1" / "brainstorm.md").write_text("mine")
    else:
        file = session.folder / "phase1" / "results.json"
        value = json.loads(file.read_text())
        value["results"]["brainstorm"]["content"] = "mine"
        file.write_text(json.dumps(value))
    again = engine.open("s1")
    record = again.recall(STEP)
    assert record is not None
    assert (record.content, record.edited) == ("mine", True)
    assert "edited" in again.notices[0]
    other = Step(phase=1, phase_name="framing", task="brainstorm", fingerprint="other")
    assert again.recall(other) == record, "a person's text is never thrown away"
    again.close()


async def test_two_different_edits_of_one_text_are_refused(
    engine: LocalEngine, session: LocalSession
) -> None:
    """Nobody can say which of the two is meant."""
    session.close()
    (session.folder / "phase1" / "brainstorm.md").write_text("mine")
    file = session.folder / "phase1" / "results.json"
    file.write_text(file.read_text().replace('"content": "an answer"', '"content": "yours"', 1))
    with pytest.raises(SessionDamagedError, match="differ"):
        engine.open("s1")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"phase": 1}', "\xff", "[" * 100_000])
async def test_a_damaged_journal_is_named_and_never_guessed_at(
    engine: LocalEngine, session: LocalSession, content: str
) -> None:
    """A results file that cannot be read stops the run with the file's name and what to do."""
    session.close()
    (session.folder / "phase1" / "results.json").write_text(content, encoding="latin-1")
    with pytest.raises(SessionDamagedError, match=r"results\.json") as caught:
        engine.open("s1")
    assert "delete" in caught.value.hint


async def test_results_deleted_by_hand_are_done_again_with_a_notice(
    engine: LocalEngine, session: LocalSession
) -> None:
    """A phase that was finished and whose file is gone is named."""
    session.phase_done(1)
    session.close()
    (session.folder / "phase1" / "results.json").unlink()
    again = engine.open("s1")
    assert again.recall(STEP) is None
    assert "phase 1" in again.notices[0]
    again.close()


async def test_a_session_of_a_newer_version_is_refused(
    engine: LocalEngine, session: LocalSession
) -> None:
    """What a later program wrote is not half understood."""
    session.close()
    file = session.folder / "pipeline_state.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(SessionDamagedError, match="newer"):
        engine.open("s1")


def test_one_process_at_a_time(engine: LocalEngine, session: LocalSession) -> None:
    """A second writer gets the name of the first, and no lock stays when that one dies."""
    code = (
        "import sys; from pathlib import Path; from aigenflow.core.clock import SystemClock;"
        "from aigenflow.engine.local import LocalEngine;"
        "LocalEngine(Path(sys.argv[1]), SystemClock()).open('s1'); print('open')"
    )
    command = [sys.executable, "-c", code, str(session.folder.parent)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert "SessionInUseError" in refused.stderr
    assert f"pid {os.getpid()}" in refused.stderr
    assert engine.read("s1").status is SessionStatus.RUNNING
    session.close()
    assert "open" in subprocess.run(command, capture_output=True, text=True).stdout
    assert engine.read("s1").status is SessionStatus.INTERRUPTED


async def test_a_step_that_fails_five_runs_running_is_left_alone(
    engine: LocalEngine, session: LocalSession
) -> None:
    """No more money goes into it until the user says so."""
    for _run in range(5):
        with pytest.raises(ValueError, match="down"):
            await session.run(LATER, failing(ValueError("down")))
    with pytest.raises(DeadLetterError, match=r"phase1\.validate"):
        await session.run(LATER, answering(a_record(LATER)))
    session.forgive()
    await session.run(LATER, answering(a_record(LATER)))
    assert session.state.attempts == {}


async def test_an_interruption_is_not_a_failure(session: LocalSession) -> None:
    """Ctrl-C five times over does not lead to the dead-letter state."""
    for _run in range(6):
        with pytest.raises(KeyboardInterrupt):
            await session.run(LATER, failing(KeyboardInterrupt()))
    await session.run(LATER, answering(a_record(LATER)))


class FullDisk(FileOps):
    """Has no space until ``freed`` is gone, if that is given."""

    def __init__(self, code: int, freed: Path | None = None) -> None:
        self.code = code
        self.freed = freed

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.freed is None or self.freed.exists():
            raise OSError(self.code, os.strerror(self.code))
        return super().write(descriptor, data)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_nothing_is_bought_when_the_intent_cannot_be_written(
    session: LocalSession, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A journal that cannot be made durable stops the run before the next paid call."""
    monkeypatch.setattr(files, "OPS", FullDisk(code))
    asked: list[bool] = []

    async def buy() -> StepRecord:
        asked.append(True)
        return a_record(LATER)

    with pytest.raises(JournalWriteError, match="cannot be written"):
        await session.run(LATER, buy)
    assert not asked


async def test_the_reserve_saves_the_last_answer_on_a_full_disk(
    engine: LocalEngine, session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is paid for still fits when the disk is full."""
    reserve = session.folder / ".reserve"
    assert reserve.stat().st_size == 4 * 1024 * 1024

    async def buy() -> StepRecord:
        monkeypatch.setattr(files, "OPS", FullDisk(errno.ENOSPC, reserve))
        return a_record(LATER)

    await session.run(LATER, buy)
    monkeypatch.undo()
    session.close()
    again = engine.open("s1")
    assert again.recall(LATER) is not None
    again.close()


async def test_publishing_completes_the_session(engine: LocalEngine, session: LocalSession) -> None:
    """The document and how it came about are there, the reserve is given back."""
    final = session.publish({"plan.md": b"# Plan\n"}, {"topic": "t"})
    session.close()
    assert (final / "plan.md").read_bytes() == b"# Plan\n"
    assert json.loads((session.folder / "metadata.json").read_text()) == {"topic": "t"}
    assert engine.read("s1").status is SessionStatus.COMPLETED
    assert not (session.folder / ".reserve").exists()


async def test_a_branch_starts_with_the_earlier_phases(
    engine: LocalEngine, session: LocalSession
) -> None:
    """The parent's results before the phase are the branch's own; the parent stays as it is."""
    session.close()
    branch = engine.branch("s1", a_spec("s2", parent="s1", from_phase=2))
    assert branch.recall(STEP) == a_record(STEP)
    branch.close()
    assert {state.spec.session for state in engine.sessions()} == {"s1", "s2"}


@pytest.mark.parametrize("name", ["../s1", "S1", "", "a/b", "con", "s1\n"])
def test_a_name_that_could_leave_the_folder_is_refused(engine: LocalEngine, name: str) -> None:
    """Ids are checked before they become a path."""
    with pytest.raises(InputError, match="cannot be the name"):
        engine.open(name)


def test_a_missing_session_is_named(engine: LocalEngine) -> None:
    """The message says which session was looked for, and where."""
    with pytest.raises(SessionNotFoundError, match="nothing-here"):
        engine.open("nothing-here")


def test_an_output_folder_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    """A file where the folder should be, for example."""
    (tmp_path / "output").touch()
    with pytest.raises(InputError, match="cannot be used"):
        LocalEngine(tmp_path / "output", SystemClock()).create(a_spec())
