from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from aigenflow.core import files
from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import (
    AigenflowError,
    BudgetExceededError,
    ConfigError,
    DeadLetterError,
    GatewayError,
    InputError,
    JournalWriteError,
    SessionDamagedError,
    SessionNotFoundError,
)
from aigenflow.core.files import FileOps
from aigenflow.engine import local
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionStatus, StepRecord
from aigenflow.engine.runner import Step
from tests.engine.sessions import LATER, STEP, a_record, a_spec, answering, failing


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
        with pytest.raises(GatewayError, match="down"):
            await session.run(LATER, failing(GatewayError("down")))
    with pytest.raises(DeadLetterError, match=r"phase1\.validate"):
        await session.run(LATER, answering(a_record(LATER)))
    session.forgive()
    await session.run(LATER, answering(a_record(LATER)))
    assert session.state.attempts == {}


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), BudgetExceededError("b"), ConfigError("c"), JournalWriteError("j")],
)
async def test_only_a_step_that_failed_itself_counts_towards_the_dead_letter(
    engine: LocalEngine, session: LocalSession, error: BaseException
) -> None:
    """Ctrl-C, a budget or a wrong setting, however often, leave the step as it was."""
    for _run in range(6):
        with pytest.raises(type(error)):
            await session.run(LATER, failing(error))
    assert session.state.attempts == {}
    assert engine.read("s1").attempts == {}


async def test_an_error_that_is_no_failure_forgets_its_own_attempt_only(
    session: LocalSession,
) -> None:
    """What failed before still counts."""
    for error in (GatewayError("down"), GatewayError("down"), BudgetExceededError("enough")):
        with pytest.raises(AigenflowError):
            await session.run(LATER, failing(error))
    assert session.state.attempts == {LATER.name: 2}


async def test_a_step_that_kills_the_process_counts_as_failed(
    engine: LocalEngine, session: LocalSession
) -> None:
    """A crash loop ends in the dead letter: the attempt is on disk before the step begins."""
    during: list[dict[str, int]] = []

    async def look() -> StepRecord:
        during.append(engine.read("s1").attempts)
        return a_record(LATER)

    await session.run(LATER, look)
    assert during == [{LATER.name: 1}]


async def test_a_step_that_begins_again_clears_what_stopped_the_run(
    engine: LocalEngine, session: LocalSession
) -> None:
    """A running session does not show the trouble of the run before."""
    session.stopped("both are down", "wait")
    seen: list[tuple[str, str]] = []

    async def look() -> StepRecord:
        seen.append((engine.read("s1").message, engine.read("s1").hint))
        return a_record(LATER)

    await session.run(LATER, look)
    assert seen == [("", "")]


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


class Killed(BaseException):
    """The process ends here."""


class DyingOps(FileOps):
    """Dies at the ``last``-th replacement of a file, and does nothing from then on."""

    def __init__(self, last: int) -> None:
        self.left = last

    def replace(self, source: Path, target: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed
        super().replace(source, target)


async def test_a_branch_killed_while_it_is_made_is_no_session(
    engine: LocalEngine, session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the parent's results never look like all of them."""
    session.close()
    for moment in range(20):
        spec = a_spec(f"branch{moment}", parent="s1", from_phase=2)
        monkeypatch.setattr(files, "OPS", DyingOps(moment))
        try:
            branch = engine.branch("s1", spec)
        except Killed:
            monkeypatch.undo()
            assert {state.spec.session for state in engine.sessions()} == {"s1"}
            with pytest.raises(SessionNotFoundError):
                engine.open(spec.session)
        else:
            break
    monkeypatch.undo()
    assert moment >= 4
    assert branch.recall(STEP) == a_record(STEP)
    branch.close()


def left_behind(root: Path, name: str, days_ago: float) -> Path:
    """What a process leaves that is killed before its session has a state."""
    folder = root / name
    folder.mkdir()
    for file in (".gitignore", ".lock", ".owner", ".reserve"):
        (folder / file).write_bytes(b"x")
    then = SystemClock().now().timestamp() - days_ago * 24 * 3600
    os.utime(folder / ".reserve", (then, then))
    return folder


def test_what_was_left_of_sessions_that_never_began_goes(
    engine: LocalEngine, session: LocalSession
) -> None:
    """After a day, when the next session is made; what may still be wanted stays."""
    root = session.folder.parent
    old, young = left_behind(root, "old", 1.1), left_behind(root, "young", 0.9)
    held, stateless = left_behind(root, "held", 9), left_behind(root, "stateless", 9)
    (stateless / "phase1").mkdir()
    (stateless / "phase1" / "results.json").write_text("paid for")
    os.utime(session.folder / ".reserve", (0, 0))
    session.close()
    with FileLock(held / ".lock"):
        engine.create(a_spec("another")).close()
    assert not old.exists()
    assert (young / ".reserve").exists()
    assert (held / ".reserve").exists()
    assert (session.folder / ".reserve").exists()
    assert not (stateless / ".reserve").exists()
    assert (stateless / "phase1" / "results.json").read_text() == "paid for"


async def test_the_reserve_is_there_again_when_a_session_is_opened(
    engine: LocalEngine, session: LocalSession
) -> None:
    """A resumed run can also save its last answer."""
    session.publish({"plan.md": b"# Plan"}, {})
    session.close()
    again = engine.open("s1")
    assert (session.folder / ".reserve").stat().st_size == 4 * 1024 * 1024
    again.close()


class Undeletable(FileOps):
    """Removes nothing."""

    def unlink(self, path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


async def test_a_reserve_that_cannot_be_removed_is_an_error_of_the_journal(
    session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named like every other trouble with the session's folder."""
    monkeypatch.setattr(files, "OPS", Undeletable())
    with pytest.raises(JournalWriteError, match="cannot be written"):
        session.publish({"plan.md": b"# Plan"}, {})


async def test_closing_releases_the_session_whatever_happens(
    engine: LocalEngine, session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner file that cannot be removed does not keep others out."""
    monkeypatch.setattr(files, "OPS", Undeletable())
    session.close()
    monkeypatch.undo()
    engine.open("s1").close()


async def test_a_session_that_cannot_be_opened_is_not_held(
    engine: LocalEngine, session: LocalSession
) -> None:
    """Once its file is put right, the same process can open it."""
    session.close()
    file = session.folder / "phase1" / "results.json"
    kept = file.read_text()
    file.write_text("{")
    with pytest.raises(SessionDamagedError) as caught:
        engine.open("s1")
    file.write_text(kept)
    engine.open("s1").close()
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("root_exists", [True, False])
def test_every_session_is_hidden_from_git(tmp_path: Path, root_exists: bool) -> None:
    """Plans are confidential, also in a folder that was there before."""
    root = tmp_path / "output"
    if root_exists:
        root.mkdir()
    session = LocalEngine(root, SystemClock()).create(a_spec())
    session.close()
    assert (session.folder / ".gitignore").read_text() == "*\n"
    assert (root / ".gitignore").exists() is not root_exists


class Watched(FileOps):
    """Writes down which files and folders were opened, created and synchronised."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.names: dict[int, str] = {}

    def open(self, path: Path | str, flags: int, mode: int) -> int:
        descriptor = super().open(path, flags, mode)
        self.names[descriptor] = Path(path).name
        return descriptor

    def create(self, path: Path) -> None:
        super().create(path)
        self.log.append(("create", path.name))

    def fsync(self, descriptor: int) -> None:
        super().fsync(descriptor)
        self.log.append(("fsync", self.names[descriptor]))

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.log.append(("replace", target.name))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.log.append(("unlink", path.name))


def test_a_new_session_survives_a_power_cut(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name in the output folder is durable, not only what is in it."""
    ops = Watched()
    monkeypatch.setattr(files, "OPS", ops)
    engine.create(a_spec()).close()
    made = ops.log.index(("create", "s1"))
    assert ops.log[made + 1] == ("fsync", "output")
    assert {"replace": ".owner", "unlink": ".owner"}.items() <= set(ops.log)


async def test_a_new_answer_removes_the_old_text_for_good_before_it_is_written(
    session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No order in which a power cut keeps the writes shows an old text beside new results."""
    ops = Watched()
    monkeypatch.setattr(files, "OPS", ops)
    other = Step(phase=1, phase_name="framing", task="brainstorm", fingerprint="other")
    await session.run(other, answering(a_record(other, "another answer")))
    steps = [entry for entry in ops.log if not entry[1].endswith(".tmp")]
    start = steps.index(("unlink", "brainstorm.md"))
    assert steps[start : start + 6] == [
        ("unlink", "brainstorm.md"),
        ("fsync", "phase1"),
        ("replace", "results.json"),
        ("fsync", "phase1"),
        ("replace", "brainstorm.md"),
        ("fsync", "phase1"),
    ]


async def test_opening_uses_the_state_as_it_is_once_the_session_is_held(
    engine: LocalEngine, session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the process before wrote while it let go is not overwritten with older news."""
    take = local._acquire

    def late(folder: Path, name: str) -> FileLock:
        session.phase_done(1)
        session.close()
        return take(folder, name)

    monkeypatch.setattr(local, "_acquire", late)
    again = engine.open("s1")
    assert again.state.completed_phases == [1]
    again.close()


async def test_a_damaged_session_is_listed_as_such(
    engine: LocalEngine, session: LocalSession
) -> None:
    """It does not vanish from the list, and the others stay readable."""
    session.close()
    engine.create(a_spec("s2")).close()
    (session.folder / "pipeline_state.json").write_text("{")
    survey = engine.survey()
    assert [state.spec.session for state in survey.readable] == ["s2"]
    assert [one.session for one in survey.damaged] == ["s1"]
    assert "pipeline_state.json" in survey.damaged[0].message


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
