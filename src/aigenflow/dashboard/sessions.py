"""The sessions that the pages show and steer: those of this machine, or of a fleet."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aigenflow.app import App
from aigenflow.core.errors import InputError, SessionDamagedError, SessionNotFoundError
from aigenflow.core.files import TEMPORARY_SUFFIX, read_bounded
from aigenflow.dashboard.live import LiveRun, Runs
from aigenflow.engine.models import SessionSpec, SessionState, StepRecord
from aigenflow.engine.session_files import FINAL_FOLDER, MAX_FILE_BYTES, METADATA_FILE
from aigenflow.pipeline.assignment import Assignment

if TYPE_CHECKING:
    from aigenflow.engine.fleet_control import FleetControl
    from aigenflow.engine.fleet_models import FleetSession

RESUMABLE = frozenset({"stopped", "interrupted", "cancelled"})
GOING_ON = frozenset({"running", "waiting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One session in a list.

    ``status`` is a word of ``SessionStatus`` or ``FleetStatus``, or ``damaged``: then there is no
    ``spec``. ``here`` says that it is written by this process, or by a fleet that takes orders;
    ``where`` names the worker that has it.
    """

    name: str
    status: str
    spec: SessionSpec | None = None
    phases_done: int = 0
    phase: int = 0
    message: str = ""
    hint: str = ""
    updated: datetime | None = None
    here: bool = False
    where: str = ""

    @property
    def is_going_on(self) -> bool:
        """Whether somebody works on it, or will."""
        return self.status in GOING_ON

    @property
    def can_resume(self) -> bool:
        """Whether there is something left to do, and nobody does it."""
        return self.status in RESUMABLE

    @property
    def can_cancel(self) -> bool:
        """Whether we can stop it."""
        return self.here and self.is_going_on


class Sessions(Protocol):
    """Sessions by name, newest first. Methods that are not coroutines block on disk or network.

    They raise ``SessionNotFoundError``, ``SessionDamagedError`` and ``InputError``.
    """

    shared: bool
    """Whether other machines work on them too."""

    def page(self, first: int, count: int) -> tuple[list[Entry], int]:
        """``count`` sessions from the ``first`` on, counted from 0, and how many there are."""
        ...

    def read(self, name: str) -> Entry:
        """One session."""
        ...

    def records(self, name: str) -> Sequence[StepRecord]:
        """Its finished tasks."""
        ...

    def files(self, name: str) -> Mapping[str, int]:
        """The files of its document by name, with their size in bytes."""
        ...

    def file(self, name: str, file: str) -> bytes:
        """One of these files."""
        ...

    def metadata(self, name: str) -> Mapping[str, Any]:
        """What is told of the finished run; nothing before."""
        ...

    def live(self, name: str) -> LiveRun | None:
        """What is known of it at this moment, where this process writes it."""
        ...

    def under_way(self, most: int) -> tuple[list[Entry], int]:
        """Those that we know to go on, without looking at all, and how many they are.

        Where they are not of this process, the list holds ``most`` of them.
        """
        ...

    def remarks(self) -> Sequence[str]:
        """What is to be said of all of them."""
        ...

    async def start(self, assignment: Assignment) -> str:
        """Begin a session; return its name."""
        ...

    async def resume(self, name: str) -> None:
        """Go on with a session."""
        ...

    async def cancel(self, name: str) -> None:
        """Stop a session; what is finished is kept."""
        ...


class LocalSessions:
    """The sessions in the output folder of this machine."""

    shared = False

    def __init__(self, app: App, runs: Runs) -> None:
        self._app = app
        self._runs = runs

    def page(self, first: int, count: int) -> tuple[list[Entry], int]:
        names = self._app.session_names()
        return [self._entry(name) for name in names[first : first + count]], len(names)

    def read(self, name: str) -> Entry:
        return self._of(self._app.engine.read(name))

    def records(self, name: str) -> Sequence[StepRecord]:
        return self._app.engine.results(name)

    def files(self, name: str) -> Mapping[str, int]:
        folder = self._app.engine.folder(name) / FINAL_FOLDER
        if not folder.is_dir():
            return {}
        sizes = ((path, _size_of(path)) for path in sorted(folder.rglob("*")))
        return {
            path.relative_to(folder).as_posix(): size for path, size in sizes if size is not None
        }

    def file(self, name: str, file: str) -> bytes:
        if file not in self.files(name):
            raise _no_file(name, file)
        return _read(self._app.engine.folder(name) / FINAL_FOLDER / file)

    def metadata(self, name: str) -> Mapping[str, Any]:
        path = self._app.engine.folder(name) / METADATA_FILE
        return _as_mapping(_read(path), METADATA_FILE) if path.is_file() else {}

    def live(self, name: str) -> LiveRun | None:
        return self._runs.of(name)

    def under_way(self, most: int) -> tuple[list[Entry], int]:
        found = [self._entry(name) for name in self._runs.names()]
        return found, len(found)

    def remarks(self) -> Sequence[str]:
        return ()

    async def start(self, assignment: Assignment) -> str:
        # In this thread: a session's lock belongs to the thread that took it.
        session = self._app.start(assignment)
        self._runs.begin(session)
        return session.spec.session

    async def resume(self, name: str) -> None:
        if self._runs.of(name) is None:
            self._runs.begin(self._app.engine.open(name))

    async def cancel(self, name: str) -> None:
        if not await self._runs.cancel(name) and self.read(name).is_going_on:
            raise InputError(
                _(
                    "Session {id} is not written by this dashboard, so it cannot be stopped here."
                ).format(id=name),
                hint=_("Press Ctrl-C where it runs; `aigenflow status {id}` shows it.").format(
                    id=name
                ),
            )

    def _entry(self, name: str) -> Entry:
        try:
            return self.read(name)
        except (SessionDamagedError, SessionNotFoundError) as error:
            return Entry(name=name, status="damaged", message=error.message, hint=error.hint)

    def _of(self, state: SessionState) -> Entry:
        name = state.spec.session
        here = self._runs.of(name) is not None
        is_resuming = here and state.status.value in RESUMABLE  # until its next task begins
        return Entry(
            name=name,
            status="running" if is_resuming else state.status.value,
            spec=state.spec,
            phases_done=len(state.completed_phases),
            phase=state.current_phase,
            message="" if is_resuming else state.message,
            hint="" if is_resuming else state.hint,
            updated=state.updated,
            here=here,
        )


class FleetSessions:
    """The sessions of a fleet, in its database; its workers write them."""

    shared = True

    def __init__(self, app: App, control: FleetControl) -> None:
        self._app = app
        self._control = control

    def page(self, first: int, count: int) -> tuple[list[Entry], int]:
        store = self._control.store
        return [_of_fleet(each) for each in store.page(first, count)], store.count()

    def read(self, name: str) -> Entry:
        return _of_fleet(self._control.session(name))

    def records(self, name: str) -> Sequence[StepRecord]:
        self._control.session(name)
        found = [step.record for step in self._control.steps(name)]
        return sorted(found, key=lambda record: (record.phase, record.finished))

    def files(self, name: str) -> Mapping[str, int]:
        self._control.session(name)
        return self._control.store.document_sizes(name)

    def file(self, name: str, file: str) -> bytes:
        self._control.session(name)
        found = self._control.store.document(name, file) if file.isprintable() else None
        if found is None:
            raise _no_file(name, file)
        return found

    def metadata(self, name: str) -> Mapping[str, Any]:
        self._control.session(name)
        return self._control.store.metadata(name)

    def live(self, name: str) -> LiveRun | None:
        return None

    def under_way(self, most: int) -> tuple[list[Entry], int]:
        from aigenflow.engine.fleet_models import FleetStatus

        store, running = self._control.store, FleetStatus.RUNNING
        return [_of_fleet(each) for each in store.page(0, most, running)], store.count(running)

    def remarks(self) -> Sequence[str]:
        unserved = _("{count} sessions belong to version {version}, which no worker has.")
        return [
            unserved.format(count=count, version=version)
            for version, count in self._control.overview().unserved.items()
        ]

    async def start(self, assignment: Assignment) -> str:
        spec = self._app.specify(assignment)
        await asyncio.to_thread(self._control.submit, [spec])
        return spec.session

    async def resume(self, name: str) -> None:
        await asyncio.to_thread(self._control.session, name)
        await asyncio.to_thread(self._control.resume, [name])

    async def cancel(self, name: str) -> None:
        await asyncio.to_thread(self._control.session, name)
        await asyncio.to_thread(self._control.cancel, [name])


def _of_fleet(session: FleetSession) -> Entry:
    status = session.status.value
    return Entry(
        name=session.spec.session,
        status=status,
        spec=session.spec,
        phases_done=5 if status == "completed" else max(0, session.phase - 1),
        phase=session.phase,
        message=session.message,
        hint=session.hint,
        updated=session.updated,
        here=True,
        where=session.worker if status == "running" else "",
    )


def _size_of(path: Path) -> int | None:
    """Bytes of a file; ``None`` for what is none, is still being written, or went just now."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    is_whole = stat.S_ISREG(status.st_mode) and path.suffix != TEMPORARY_SUFFIX
    return status.st_size if is_whole else None


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise SessionDamagedError(
            _("{file} cannot be read: {problem}").format(file=path.name, problem=error),
            hint=_("Export the document again."),
        ) from error


def _as_mapping(data: bytes, name: str) -> Mapping[str, Any]:
    """The JSON object in ``data``. Raises ``SessionDamagedError``."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SessionDamagedError(
            _("{file} cannot be read: {problem}").format(file=name, problem=error),
            hint=_("Export the document again."),
        ) from error
    return value if isinstance(value, dict) else {}


def read_json(sessions: Sessions, name: str, file: str) -> Mapping[str, Any]:
    """A JSON file of the document; nothing where there is none. Raises as ``sessions.file``."""
    if file not in sessions.files(name):
        return {}
    return _as_mapping(sessions.file(name, file), file)


def _no_file(name: str, file: str) -> SessionNotFoundError:
    return SessionNotFoundError(
        _("Session {id} has no file {file}.").format(id=name, file=file[:80]),
        hint=_("The page of the session lists its files."),
    )
