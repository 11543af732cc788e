from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aigenflow.core import files
from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import JournalWriteError, SessionDamagedError
from aigenflow.core.files import FileOps
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import StepRecord
from aigenflow.engine.runner import Step
from tests.engine.sessions import LATER, STEP, a_record, a_spec, answering

ASKED_AGAIN = Step(phase=1, phase_name="framing", task="brainstorm", fingerprint="other")


def reopened(engine: LocalEngine) -> tuple[StepRecord, list[str]]:
    """The record that a resumed run finds, and what the user is told."""
    session = engine.open("s1")
    session.close()
    (record,) = session.records()
    return record, session.notices


def the_text(session: LocalSession) -> Path:
    return session.folder / "phase1" / "brainstorm.md"


def write_in_results(session: LocalSession, text: str) -> None:
    file = session.folder / "phase1" / "results.json"
    value = json.loads(file.read_text())
    value["results"]["brainstorm"]["content"] = text
    file.write_text(json.dumps(value))


async def test_the_same_text_can_be_edited_again_and_again(
    engine: LocalEngine, session: LocalSession
) -> None:
    """Each edit counts from then on, in either place; opening without one changes nothing."""
    session.close()
    for text in ("mine", "mine, better", "mine"):
        the_text(session).write_text(text)
        record, notices = reopened(engine)
        assert (record.content, record.edited) == (text, True)
        assert "edited" in notices[0]
        assert reopened(engine) == (record, [])
    write_in_results(session, "in the other place")
    assert reopened(engine)[0].content == "in the other place"
    assert the_text(session).read_text() == "in the other place\n"


@pytest.mark.parametrize("place", ["md", "json"])
async def test_restoring_the_agents_text_undoes_the_edit(
    engine: LocalEngine, session: LocalSession, place: str
) -> None:
    """The step is then as the agent left it, and is asked again when its question changes."""
    session.close()
    the_text(session).write_text("mine")
    reopened(engine)
    if place == "md":
        the_text(session).write_text("an answer")
    else:
        write_in_results(session, "an answer")
    record, notices = reopened(engine)
    assert (record.content, record.edited) == ("an answer", False)
    assert len(notices) == 1
    again = engine.open("s1")
    assert again.recall(ASKED_AGAIN) is None
    again.close()


async def test_looking_at_a_session_shows_edits_and_writes_nothing(
    engine: LocalEngine, session: LocalSession
) -> None:
    """Only a run takes them over."""
    session.close()
    the_text(session).write_text("mine")
    before = (session.folder / "phase1" / "results.json").read_bytes()
    assert [record.content for record in engine.results("s1")] == ["mine"]
    assert (session.folder / "phase1" / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    "changed", [b"an answer", b"an answer\n\n \n", b"an answer\r\n", b"\xef\xbb\xbfan answer\n"]
)
async def test_what_an_editor_changes_unasked_is_no_edit(
    engine: LocalEngine, session: LocalSession, changed: bytes
) -> None:
    """White space at the end, line endings and a byte-order mark are not the person's words."""
    session.close()
    assert the_text(session).read_bytes() == b"an answer\n"
    the_text(session).write_bytes(changed)
    assert reopened(engine) == (a_record(STEP), [])


async def test_line_endings_in_the_middle_are_no_edit(engine: LocalEngine) -> None:
    """A text saved on another system is the same text."""
    session = engine.create(a_spec())
    await session.run(STEP, answering(a_record(STEP, "one\n\ntwo\n\n")))
    session.close()
    assert the_text(session).read_bytes() == b"one\n\ntwo\n"
    the_text(session).write_bytes(b"one\r\n\r\ntwo\r\n")
    record, notices = reopened(engine)
    assert (record.edited, notices) == (False, [])


@pytest.mark.parametrize("look", [LocalEngine.open, LocalEngine.results])
async def test_a_text_that_is_not_utf8_is_named(
    engine: LocalEngine, session: LocalSession, look: Callable[[LocalEngine, str], Any]
) -> None:
    """A Korean text saved in the old encoding is neither garbled nor thrown away."""
    session.close()
    the_text(session).write_bytes("사업계획서".encode("cp949"))
    with pytest.raises(SessionDamagedError, match=r"brainstorm\.md") as caught:
        look(engine, "s1")
    assert "UTF-8" in caught.value.hint
    the_text(session).write_bytes("사업계획서".encode("utf-8-sig"))
    assert reopened(engine)[0].content == "사업계획서"


@pytest.mark.parametrize("emptied", [True, False])
async def test_a_text_that_is_gone_is_written_again(
    engine: LocalEngine, session: LocalSession, emptied: bool
) -> None:
    """Deleting or emptying the file is no edit: the results have the text."""
    session.close()
    the_text(session).write_text(" \n") if emptied else the_text(session).unlink()
    assert reopened(engine) == (a_record(STEP), [])
    assert the_text(session).read_text() == "an answer\n"


@pytest.mark.parametrize("name", ["../../../escaped", "UP", "a/b"])
async def test_a_task_whose_name_could_leave_the_folder_is_refused(
    engine: LocalEngine, session: LocalSession, name: str
) -> None:
    """Results from elsewhere write no file outside the session."""
    session.close()
    file = session.folder / "phase1" / "results.json"
    value = json.loads(file.read_text())
    value["results"][name] = value["results"]["brainstorm"]
    file.write_text(json.dumps(value))
    with pytest.raises(SessionDamagedError, match="names a task"):
        engine.open("s1")


class Killed(BaseException):
    """The process ends here."""


class DyingOps(FileOps):
    """Ends the process at call number ``last``: from then on, nothing is done any more."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or not callable(value) or name == "close":
            return value

        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return value(*arguments)

        return call


def a_session_with_an_answer(tmp_path: Path, moment: int) -> tuple[LocalEngine, LocalSession]:
    engine = LocalEngine(tmp_path / str(moment), SystemClock())
    return engine, engine.create(a_spec())


async def test_a_crash_while_an_answer_is_remembered_never_looks_like_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any call: the old answer or the new one is found, as an agent's, and no other."""
    old, new = a_record(STEP), a_record(ASKED_AGAIN, "another answer")
    found = []
    for moment in range(100):
        engine, session = a_session_with_an_answer(tmp_path, moment)
        await session.run(STEP, answering(old))
        monkeypatch.setattr(files, "OPS", DyingOps(moment))
        try:
            session._remember(ASKED_AGAIN, new)
        except Killed:
            finished = False
        else:
            finished = True
        monkeypatch.undo()
        session.close()
        record, notices = reopened(engine)
        assert notices == []
        assert record in (old, new)
        assert the_text(session).read_text() == record.content + "\n"
        found.append(record)
        if finished:
            break
    assert finished
    assert found[0] == old
    assert found[-1] == new
    assert len(found) > 15


class Stuck(FileOps):
    """Removes no text."""

    def unlink(self, path: Path) -> None:
        if path.suffix == ".md":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        super().unlink(path)


async def test_an_answer_that_could_not_be_kept_is_not_kept_with_the_next_one(
    engine: LocalEngine, session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of the same wave does not put new results beside the old text."""
    monkeypatch.setattr(files, "OPS", Stuck())
    with pytest.raises(JournalWriteError):
        await session.run(ASKED_AGAIN, answering(a_record(ASKED_AGAIN, "another answer")))
    await session.run(LATER, answering(a_record(LATER)))
    monkeypatch.undo()
    session.close()
    again = engine.open("s1")
    assert again.records() == (a_record(STEP), a_record(LATER))
    assert again.notices == []
    again.close()


@pytest.mark.parametrize("place", ["md", "json"])
async def test_a_crash_while_an_edit_is_taken_over_keeps_the_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Killed at any call: the person's text is what the next run finds, and what both files say."""
    for moment in range(100):
        engine, session = a_session_with_an_answer(tmp_path, moment)
        await session.run(STEP, answering(a_record(STEP)))
        session.close()
        the_text(session).write_text("mine") if place == "md" else write_in_results(session, "mine")
        monkeypatch.setattr(files, "OPS", DyingOps(moment))
        try:
            engine.open("s1").close()
        except Killed:
            finished = False
        else:
            finished = True
        monkeypatch.undo()
        record, _notices = reopened(engine)
        assert (record.content, record.edited) == ("mine", True)
        assert the_text(session).read_text().rstrip() == "mine"
        if finished:
            break
    assert finished
    assert moment > 10


async def test_a_document_edited_by_hand_is_kept_beside_the_new_one(
    engine: LocalEngine, session: LocalSession
) -> None:
    """Publishing again never overwrites a person's words; each edit gets a name of its own."""
    final = session.publish({"plan.md": b"first\n"}, {})
    for number, kept in enumerate(("plan.edited.md", "plan.edited-2.md"), start=2):
        (final / "plan.md").write_text(f"mine {number}")
        session.close()
        session = engine.open("s1")
        session.publish({"plan.md": f"version {number}\n".encode()}, {})
        assert (final / "plan.md").read_text() == f"version {number}\n"
        assert (final / kept).read_text() == f"mine {number}"
        (notice,) = session.notices
        assert kept in notice
    session.close()


@pytest.mark.parametrize("content", [b"first\n", b"first", b"first\r\n", b"second\n"])
async def test_a_document_nobody_edited_is_replaced(
    engine: LocalEngine, session: LocalSession, content: bytes
) -> None:
    """What the program wrote, or is about to write, needs no keeping."""
    final = session.publish({"plan.md": b"first\n"}, {})
    (final / "plan.md").write_bytes(content)
    session.publish({"plan.md": b"second\n"}, {})
    session.close()
    assert [path.name for path in final.iterdir()] == ["plan.md"]
    assert (final / "plan.md").read_bytes() == b"second\n"
    assert session.notices == []


async def test_a_crash_while_publishing_is_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any call, the next publication finds only what the program itself wrote."""
    for moment in range(100):
        engine, session = a_session_with_an_answer(tmp_path, moment)
        final = session.publish({"plan.md": b"first\n"}, {})
        monkeypatch.setattr(files, "OPS", DyingOps(moment))
        try:
            session.publish({"plan.md": b"second\n"}, {})
        except Killed:
            finished = False
        else:
            finished = True
        monkeypatch.undo()
        session.close()
        again = engine.open("s1")
        again.publish({"plan.md": b"third\n"}, {})
        again.close()
        assert [path.name for path in final.iterdir()] == ["plan.md"]
        if finished:
            break
    assert finished
    assert moment > 15
