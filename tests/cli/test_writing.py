from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from aigenflow.cli.progress import SilentProgress
from aigenflow.cli.writing import AT_ONCE, AT_ONCE_IN_JOBS, _write_together, at_once
from aigenflow.core.config import BatchSettings, Settings
from aigenflow.core.errors import InputError
from aigenflow.core.models import ProcessingChoice


class Session:
    """A session that counts how many are open."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk = desk
        self.spec = SimpleNamespace(session=name)
        self.folder = Path("output") / name
        desk.open += 1
        desk.most_open = max(desk.most_open, desk.open)

    def close(self) -> None:
        self.desk.open -= 1


class Desk:
    """Stands in for the app: writes as ``work`` says."""

    def __init__(self, work: Callable[[str], Any]) -> None:
        self.work = work
        self.open = self.most_open = 0
        self.log: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.log.append("closed")

    def take(self, name: str) -> Callable[[Desk], Session]:
        def take(desk: Desk) -> Session:
            if name == "wrong":
                raise InputError("no room")
            return Session(desk, name)

        return take

    async def write(self, session: Session, _on_event: object) -> Path:
        try:
            await self.work(session.spec.session)
        finally:
            await asyncio.sleep(0)
            self.log.append(session.spec.session)
        return session.folder


def together(desk: Desk, names: list[str]) -> Any:
    sessions: list[Any] = []
    takes: Any = [desk.take(name) for name in names]
    return _write_together(desk, takes, sessions, SilentProgress(), AT_ONCE)  # type: ignore[arg-type]


async def test_sessions_are_taken_when_their_turn_comes() -> None:
    """A thousand topics do not mean a thousand open locks; all are released."""
    desk = Desk(lambda _name: asyncio.sleep(0))
    outcomes = await together(desk, [f"s{n}" for n in range(100)])
    assert [one.document.name for one in outcomes] == [f"s{n}" for n in range(100)]
    assert desk.most_open == AT_ONCE
    assert desk.open == 0


@pytest.mark.parametrize("by_default", list(ProcessingChoice))
def test_more_documents_are_written_side_by_side_in_batch_jobs(
    by_default: ProcessingChoice,
) -> None:
    """What was asked for counts, else the settings."""
    settings = Settings(batch=BatchSettings(processing=by_default))
    in_jobs = by_default is ProcessingChoice.BATCH
    assert at_once(None, settings) == (AT_ONCE_IN_JOBS if in_jobs else AT_ONCE)
    assert at_once(ProcessingChoice.BATCH, settings) == AT_ONCE_IN_JOBS
    assert at_once(ProcessingChoice.FLEX, settings) == AT_ONCE


async def test_a_session_that_cannot_be_begun_does_not_disturb_the_others() -> None:
    """It is an outcome like any other."""
    desk = Desk(lambda _name: asyncio.sleep(0))
    one, two = await together(desk, ["wrong", "fine"])
    assert (one.session, str(one.error)) == (None, "no room")
    assert two.document is not None


async def test_everything_is_closed_after_the_last_one_has_ended() -> None:
    """A mistake of ours in one session lets the others finish, and is raised then."""

    async def work(name: str) -> None:
        if name == "bad":
            raise ZeroDivisionError
        await asyncio.sleep(0.02)

    desk = Desk(work)
    with pytest.raises(ZeroDivisionError):
        await together(desk, ["bad", "good"])
    assert desk.log == ["bad", "good", "closed"]
    assert desk.open == 0


async def test_ctrl_c_waits_for_everyone_to_put_their_work_away() -> None:
    """Nobody is still writing when the ledger and the connections are closed."""

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02 if name == "slow" else 0)

    desk = Desk(work)
    task = asyncio.ensure_future(together(desk, ["quick", "slow"]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert desk.log == ["quick", "slow", "closed"]
    assert desk.open == 0
