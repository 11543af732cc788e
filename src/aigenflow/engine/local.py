"""Sessions on one machine: the session's folder is the journal.

    output/<session-id>/
      pipeline_state.json      what was asked, where the session stands
      phaseN/results.json      the finished tasks of phase N, the truth
      phaseN/<task>.md         the same texts to read and to edit
      final/                   the document
      metadata.json            how it came about

Every finished task is durable before the next one begins (see ``core.files.write_durably``). A
text edited by a person, in either place, counts as the task's result from then on; the steps that
heard the old text are asked again, because their question has changed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from gettext import gettext as _
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from aigenflow.core.clock import Clock
from aigenflow.core.errors import (
    DeadLetterError,
    InputError,
    JournalWriteError,
    SessionDamagedError,
    SessionInUseError,
    SessionNotFoundError,
)
from aigenflow.core.files import (
    ensure_directory,
    is_safe_name,
    read_bounded,
    reserve_space,
    sweep_temporaries,
    write_durably,
)
from aigenflow.engine.models import (
    SCHEMA_VERSION,
    PhaseResults,
    SessionSpec,
    SessionState,
    SessionStatus,
    StepRecord,
    digest,
)
from aigenflow.engine.runner import Step

STATE_FILE = "pipeline_state.json"
RESULTS_FILE = "results.json"
METADATA_FILE = "metadata.json"
FINAL_FOLDER = "final"
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_ATTEMPTS = 5
LOCK_PATIENCE_S = 0.3
"""Longer than it takes another process to look whether a session is held."""
RESERVE_BYTES = 4 * 1024 * 1024
_Model = TypeVar("_Model", bound=BaseModel)
_LOCK, _OWNER, _RESERVE = ".lock", ".owner", ".reserve"


def ignore_notice(notice: str) -> None:
    """Told to nobody."""


class LocalSession:
    """One session, held by this process: the :class:`~aigenflow.engine.runner.Runner` of it."""

    def __init__(self, folder: Path, state: SessionState, clock: Clock, lock: FileLock) -> None:
        self.folder = folder
        self.notices: list[str] = []
        self._on_notice: Callable[[str], None] = ignore_notice
        self._state = state
        self._clock = clock
        self._lock = lock
        self._phases: dict[int, PhaseResults] = {}
        self._load_phases()

    @property
    def spec(self) -> SessionSpec:
        return self._state.spec

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    @property
    def is_completed(self) -> bool:
        """Whether the document is there."""
        return self._state.status is SessionStatus.COMPLETED

    def watch(self, on_notice: Callable[[str], None]) -> None:
        """Tell ``on_notice`` what the user should know, from the first notice on."""
        for notice in self.notices:
            on_notice(notice)
        self._on_notice = on_notice

    def records(self) -> tuple[StepRecord, ...]:
        """Every remembered result, phase by phase."""
        return tuple(
            record for n in sorted(self._phases) for record in self._phases[n].results.values()
        )

    def recall(self, step: Step) -> StepRecord | None:
        phase = self._phases.get(step.phase)
        record = phase.results.get(step.task) if phase else None
        if record is None or record.edited or record.fingerprint == step.fingerprint:
            return record
        self._notify(
            _("{step} is asked again: what it is asked has changed.").format(step=step.name)
        )
        return None

    async def run(self, step: Step, action: Callable[[], Awaitable[StepRecord]]) -> StepRecord:
        self._begin(step)
        try:
            record = await action()
        except BaseException as error:
            if not isinstance(error, Exception):  # interrupted by the user, not failed
                self._forget_attempt(step)
            raise
        self._remember(step, record)
        return record

    def phase_done(self, phase: int) -> None:
        completed = sorted({*self._state.completed_phases, phase})
        self._save_state(completed_phases=completed, current_phase=phase)

    def stopped(self, message: str, hint: str) -> None:
        self._save_state(status=SessionStatus.STOPPED, message=message, hint=hint)

    def publish(self, documents: Mapping[str, bytes], metadata: Mapping[str, Any]) -> Path:
        final = self.folder / FINAL_FOLDER
        with self._journal_errors():
            ensure_directory(final)
            for name, data in documents.items():
                self._write(final / name, data)
            self._write_json(self.folder / METADATA_FILE, dict(metadata))
        self._save_state(status=SessionStatus.COMPLETED, message="", hint="")
        (self.folder / _RESERVE).unlink(missing_ok=True)
        return final

    def forgive(self) -> None:
        """Forget failed attempts, so that a step that kept failing is tried again."""
        self._save_state(attempts={})

    def close(self) -> None:
        """Release the session for other processes."""
        (self.folder / _OWNER).unlink(missing_ok=True)
        self._lock.release()

    def _notify(self, notice: str) -> None:
        self.notices.append(notice)
        self._on_notice(notice)

    def _begin(self, step: Step) -> None:
        attempts = self._state.attempts.get(step.name, 0)
        if attempts >= MAX_ATTEMPTS:
            raise DeadLetterError(
                _("{step} failed in {count} runs in a row, so it is not tried again.").format(
                    step=step.name, count=attempts
                ),
                hint=_(
                    "Put the cause right, then use `aigenflow resume {id} --retry-failed`."
                ).format(id=self.spec.session),
            )
        self._save_state(
            status=SessionStatus.RUNNING,
            current_phase=step.phase,
            attempts={**self._state.attempts, step.name: attempts + 1},
        )

    def _forget_attempt(self, step: Step) -> None:
        attempts = dict(self._state.attempts)
        attempts[step.name] = max(0, attempts.get(step.name, 0) - 1)
        self._save_state(attempts=attempts)

    def _remember(self, step: Step, record: StepRecord) -> None:
        phase = self._phases.setdefault(
            step.phase, PhaseResults(phase=step.phase, name=step.phase_name)
        )
        phase.results[step.task] = record
        folder = self.folder / f"phase{step.phase}"
        with self._journal_errors():
            ensure_directory(folder)
            self._write(folder / f"{step.task}.md", _encoded(record.content))
            self._write_json(folder / RESULTS_FILE, phase)
        attempts = {name: n for name, n in self._state.attempts.items() if name != step.name}
        self._save_state(attempts=attempts)

    def _save_state(self, **changes: Any) -> None:
        changes["updated"] = self._clock.now()
        self._state = self._state.model_copy(update=changes)
        with self._journal_errors():
            self._write_json(self.folder / STATE_FILE, self._state)

    def _write_json(self, path: Path, value: BaseModel | dict[str, Any]) -> None:
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        text = json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False)
        self._write(path, _encoded(text + "\n"))

    def _write(self, path: Path, data: bytes) -> None:
        """Write durably; on a full disk, into the space that was kept for this."""
        try:
            write_durably(path, data)
        except OSError as error:
            reserve = self.folder / _RESERVE
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not reserve.exists():
                raise
            reserve.unlink()
            write_durably(path, data)

    @contextlib.contextmanager
    def _journal_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalWriteError(
                _("The session folder {folder} cannot be written: {problem}").format(
                    folder=self.folder, problem=error.strerror or error
                ),
                hint=_(
                    "Nothing more is bought. Free some space or check permissions, then resume."
                ),
            ) from error

    def _load_phases(self) -> None:
        for path in sorted(self.folder.glob(f"phase[1-9]/{RESULTS_FILE}")):
            results = _read_model(path, PhaseResults)
            for task, record in results.results.items():
                file = path.parent / f"{task}.md"
                results.results[task] = _with_edits(file, record)
                if results.results[task].edited and not record.edited:
                    self._notify(_("{file} was edited; your text is used.").format(file=file))
            self._phases[results.phase] = results
        for number in self._state.completed_phases:
            if number not in self._phases:
                self._notify(
                    _("The results of phase {phase} are gone, so it is done again.").format(
                        phase=number
                    )
                )


class LocalEngine:
    """The sessions below one output folder."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock

    def new_id(self) -> str:
        """A name for a session: the time, and enough chance that no two are equal."""
        return f"{self._clock.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"

    def create(self, spec: SessionSpec) -> LocalSession:
        """Start a session's folder.

        Raises :class:`~aigenflow.core.errors.InputError` where it cannot be made.
        """
        folder = self._folder(spec.session)
        try:
            if not self._root.exists():
                ensure_directory(self._root)
                (self._root / ".gitignore").write_text("*\n")
            folder.mkdir(mode=0o700)
            reserve_space(folder / _RESERVE, RESERVE_BYTES)
        except OSError as error:
            raise InputError(
                _("The output folder {folder} cannot be used: {problem}").format(
                    folder=folder, problem=error.strerror or error
                ),
                hint=_("Choose another with --output-dir."),
            ) from error
        lock = _acquire(folder, spec.session)
        state = SessionState(spec=spec, updated=self._clock.now())
        session = LocalSession(folder, state, self._clock, lock)
        session.forgive()
        return session

    def open(self, session: str) -> LocalSession:
        """Take an existing session.

        Raises ``SessionNotFoundError``, ``SessionInUseError`` or ``SessionDamagedError``.
        """
        state = self.read(session)
        folder = self._folder(session)
        lock = _acquire(folder, session)
        for place in (folder, *folder.glob("phase[1-9]"), folder / FINAL_FOLDER):
            sweep_temporaries(place)
        return LocalSession(folder, state, self._clock, lock)

    def branch(self, parent: str, spec: SessionSpec) -> LocalSession:
        """Start a session that has the parent's results before ``spec.from_phase``."""
        self.read(parent)
        session = self.create(spec)
        for number in range(1, spec.from_phase):
            source = self._folder(parent) / f"phase{number}"
            target = ensure_directory(session.folder / f"phase{number}")
            for path in sorted(source.glob("*.md")) + sorted(source.glob(RESULTS_FILE)):
                write_durably(target / path.name, read_bounded(path, MAX_FILE_BYTES))
        session._load_phases()  # noqa: SLF001 - the same module
        return session

    def read(self, session: str) -> SessionState:
        """Where a session stands, without taking it."""
        path = self._folder(session) / STATE_FILE
        if not path.is_file():
            raise SessionNotFoundError(
                _("There is no session {id} in {root}.").format(id=session, root=self._root),
                hint=_("`aigenflow status` lists the sessions; --output-dir looks elsewhere."),
            )
        state = _read_model(path, SessionState)
        if state.status is SessionStatus.RUNNING and not self._is_held(session):
            return state.model_copy(update={"status": SessionStatus.INTERRUPTED})
        return state

    def sessions(self) -> tuple[SessionState, ...]:
        """Every readable session, newest first."""
        found = []
        for path in self._root.glob(f"*/{STATE_FILE}"):
            with contextlib.suppress(SessionDamagedError, SessionNotFoundError, InputError):
                found.append(self.read(path.parent.name))
        return tuple(sorted(found, key=lambda state: state.spec.created, reverse=True))

    def results(self, session: str) -> tuple[StepRecord, ...]:
        """The remembered results of a session, without taking it."""
        paths = sorted(self._folder(session).glob(f"phase[1-9]/{RESULTS_FILE}"))
        return tuple(
            _with_edits(path.parent / f"{task}.md", record)
            for path in paths
            for task, record in _read_model(path, PhaseResults).results.items()
        )

    def folder(self, session: str) -> Path:
        """The folder of an existing session."""
        self.read(session)
        return self._folder(session)

    def _folder(self, session: str) -> Path:
        if not is_safe_name(session):
            raise InputError(
                _("{id!r} cannot be the name of a session.").format(id=session[:80]),
                hint=_("Names have up to 64 letters a-z, digits, - and _."),
            )
        return self._root / session

    def _is_held(self, session: str) -> bool:
        try:
            lock = FileLock(self._folder(session) / _LOCK, timeout=0, mode=0o600)
            with lock:
                return False
        except Timeout:
            return True
        except OSError:  # a folder that is not ours to write: nobody here runs it
            return False


def _acquire(folder: Path, session: str) -> FileLock:
    lock = FileLock(folder / _LOCK, timeout=LOCK_PATIENCE_S, mode=0o600)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        owner = _read_text(folder / _OWNER) or _("another process")
        raise SessionInUseError(
            _("Session {id} is in use by {owner}.").format(id=session, owner=owner),
            hint=_("Wait for it to end, or stop that process."),
        ) from None
    except OSError as error:
        raise SessionDamagedError(
            _("Session {id} cannot be locked: {problem}").format(
                id=session, problem=error.strerror or error
            ),
            hint=_("Check the permissions of {folder}.").format(folder=folder),
        ) from error
    with contextlib.suppress(OSError):  # only for the message above
        (folder / _OWNER).write_text(f"pid {os.getpid()} on {socket.gethostname()}")
    return lock


def _read_model(path: Path, model: type[_Model]) -> _Model:
    try:
        value = json.loads(read_bounded(path, MAX_FILE_BYTES))
        version = value.get("schema_version") if isinstance(value, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise SessionDamagedError(
                _("{file} was written by a newer version of aigenflow.").format(file=path),
                hint=_("Upgrade aigenflow to use this session."),
            )
        return model.model_validate(value)
    except (OSError, ValueError, RecursionError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise SessionDamagedError(
            _("{file} cannot be read: {problem}").format(file=path, problem=problem),
            hint=_("Put it right, or delete it: its phase is then done again.")
            if path.name == RESULTS_FILE
            else _("Start a new run; the results of finished phases are still in the folder."),
        ) from error


def _read_text(path: Path) -> str:
    try:
        return read_bounded(path, MAX_FILE_BYTES).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return ""


def _with_edits(path: Path, record: StepRecord) -> StepRecord:
    """``record`` with the text that a person made of it, in ``path`` or in the results file."""
    text = _read_text(path)
    edits = {t for t in (record.content, text) if t and digest(t) != record.content_sha256}
    if not edits:
        return record
    if len(edits) > 1:
        raise SessionDamagedError(
            _("{file} and {results} were both edited, and differ.").format(
                file=path, results=path.parent / RESULTS_FILE
            ),
            hint=_("Keep your text in one of the two; delete {file} to use the other.").format(
                file=path.name
            ),
        )
    return record.model_copy(update={"content": edits.pop(), "edited": True})


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
