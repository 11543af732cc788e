"""Sessions on one machine: the session's folder is the journal.

    output/<session-id>/
      pipeline_state.json      what was asked, where the session stands
      phaseN/results.json      the finished tasks of phase N, the truth
      phaseN/<task>.md         the same texts to read and to edit
      final/                   the document
      metadata.json            how it came about

Every finished task is durable before the next one begins (see ``core.files.write_durably``). A
text edited by a person, in either place, counts as the task's result from then on; the steps that
heard the old text are asked again, because their question has changed. So no crash may leave two
texts that differ: an outdated ``.md`` is removed before ``results.json`` is written, and a missing
one is written again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from gettext import gettext as _
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel

from aigenflow.core.clock import Clock
from aigenflow.core.errors import (
    DeadLetterError,
    GatewayError,
    InputError,
    JournalWriteError,
    PhaseFailedError,
    SessionDamagedError,
    SessionInUseError,
    SessionNotFoundError,
)
from aigenflow.core.files import (
    create_directory,
    ensure_directory,
    is_safe_name,
    read_bounded,
    remove,
    remove_directory,
    remove_durably,
    reserve_space,
    sweep_temporaries,
    write_atomically,
    write_durably,
)
from aigenflow.engine.models import (
    DamagedSession,
    PhaseResults,
    SessionSpec,
    SessionState,
    SessionStatus,
    StepRecord,
    Survey,
    digest,
)
from aigenflow.engine.runner import NO_FILES, Step
from aigenflow.engine.session_files import (
    FINAL_FOLDER,
    MAX_FILE_BYTES,
    METADATA_FILE,
    PHASE_FOLDERS,
    RESULTS_FILE,
    STATE_FILE,
    document_digest,
    edited_name,
    encoded,
    read_model,
    read_phase,
    read_results,
    read_text,
    with_edits,
)

MAX_ATTEMPTS = 5
LOCK_PATIENCE_S = 0.3
"""Longer than it takes another process to look whether a session is held."""
RESERVE_BYTES = 4 * 1024 * 1024
ABANDONED_AFTER_S = 24 * 3600
"""Much longer than it takes to make a session's folder, even where a clock jumps by hours."""
_LOCK, _OWNER, _RESERVE, _IGNORE = ".lock", ".owner", ".reserve", ".gitignore"


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

    def begin(self) -> None:
        """Make the folder a session: it has a state from now on."""
        self._save_state()

    def load(self) -> None:
        """Read the results, and take over what a person made of them.

        Raises ``SessionDamagedError`` and ``JournalWriteError``.
        """
        for path in sorted(self.folder.glob(f"{PHASE_FOLDERS}/{RESULTS_FILE}")):
            self._load_phase(path)
        for number in self._state.completed_phases:
            if number not in self._phases:
                self._notify(
                    _("The results of phase {phase} are gone, so it is done again.").format(
                        phase=number
                    )
                )

    def adopt(self, parent: Path, before: int) -> None:
        """Take over the results of the session in ``parent`` up to the phase ``before``.

        Raises as :meth:`load`.
        """
        with self._journal_errors():
            for number in range(1, before):
                source = parent / f"phase{number}"
                target = ensure_directory(self.folder / source.name)
                for path in (*sorted(source.glob("*.md")), *source.glob(RESULTS_FILE)):
                    write_durably(target / path.name, read_bounded(path, MAX_FILE_BYTES))
        self.load()

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
            self._remember(step, record)
        except (GatewayError, PhaseFailedError):
            raise
        except BaseException:  # budget, configuration, Ctrl-C: the step itself did not fail
            with contextlib.suppress(JournalWriteError):
                self._forget_attempt(step)
            raise
        return record

    def phase_done(self, phase: int) -> None:
        completed = sorted({*self._state.completed_phases, phase})
        self._save_state(completed_phases=completed, current_phase=phase)

    def stopped(self, message: str, hint: str) -> None:
        self._save_state(status=SessionStatus.STOPPED, message=message, hint=hint)

    def publish(
        self,
        documents: Mapping[str, bytes],
        metadata: Mapping[str, Any],
        side_files: Mapping[str, bytes] = NO_FILES,
    ) -> Path:
        final = self.folder / FINAL_FOLDER
        ours = {name: document_digest(data) for name, data in documents.items()}
        known = {name: [*self._published(name), sha] for name, sha in ours.items()}
        self._save_state(published={**self._state.published, **known})
        with self._journal_errors():
            ensure_directory(final)
            for name, data in documents.items():
                self._write_document(final, name, data)
            for name, data in side_files.items():
                self._write(self.folder / name, data)
            self._write_json(self.folder / METADATA_FILE, dict(metadata))
            remove(self.folder / _RESERVE)
        self._save_state(
            status=SessionStatus.COMPLETED,
            published={**self._state.published, **{name: [sha] for name, sha in ours.items()}},
            message="",
            hint="",
        )
        return final

    def add(self, documents: Mapping[str, bytes]) -> tuple[Path, ...]:
        """Keep more forms of the finished document; what a person edited is kept beside them.

        Returns where they are. Raises ``JournalWriteError``.
        """
        final = self.folder / FINAL_FOLDER
        ours = {name: document_digest(data) for name, data in documents.items()}
        with self._journal_errors():
            for name, data in documents.items():
                self._write_document(final, name, data)
            if self.is_completed:
                remove(self.folder / _RESERVE)
        self._save_state(published={**self._state.published, **{n: [s] for n, s in ours.items()}})
        return tuple(final / name for name in documents)

    def is_edited(self, name: str, data: bytes) -> bool:
        """Whether ``data``, a document's text, is not what was published under ``name``."""
        return document_digest(data) not in self._published(name)

    def forgive(self) -> None:
        """Forget failed attempts, so that a step that kept failing is tried again."""
        self._save_state(attempts={})

    def close(self) -> None:
        """Release the session for other processes."""
        _release(self.folder, self._lock)

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
            message="",
            hint="",
            current_phase=step.phase,
            attempts={**self._state.attempts, step.name: attempts + 1},
        )

    def _forget_attempt(self, step: Step) -> None:
        attempts = dict(self._state.attempts)
        count = attempts.pop(step.name, 0)
        if count > 1:
            attempts[step.name] = count - 1
        self._save_state(attempts=attempts)

    def _remember(self, step: Step, record: StepRecord) -> None:
        known = self._phases.get(step.phase)
        results = {**(known.results if known else {}), step.task: record}
        self._store(
            PhaseResults(phase=step.phase, name=step.phase_name, results=results), {step.task}
        )
        attempts = {name: n for name, n in self._state.attempts.items() if name != step.name}
        self._save_state(attempts=attempts)

    def _load_phase(self, path: Path) -> None:
        phase = read_phase(path)
        edited, outdated = False, set()
        for task, record in phase.results.items():
            file = path.parent / f"{task}.md"
            text = read_text(file)
            phase.results[task] = with_edits(record, file, text)
            if phase.results[task] is not record:
                edited = True
                self._notify(_("{file} was edited; your text is used.").format(file=file))
            if text is None or digest(text) != digest(phase.results[task].content):
                outdated.add(task)
        self._phases[phase.phase] = phase
        if edited or outdated:
            self._store(phase, outdated)

    def _store(self, phase: PhaseResults, outdated: Collection[str]) -> None:
        """Write the results, and the texts of the tasks whose file is missing or ``outdated``."""
        folder = self.folder / f"phase{phase.phase}"
        with self._journal_errors():
            ensure_directory(folder)
            # An old text beside new results would look like an edit; no text does not.
            for task in outdated:
                remove_durably(folder / f"{task}.md")
            self._write_json(folder / RESULTS_FILE, phase)
            self._phases[phase.phase] = phase
            for task in outdated:
                text = phase.results[task].content.rstrip() + "\n"
                self._write(folder / f"{task}.md", encoded(text))

    def _published(self, name: str) -> list[str]:
        return self._state.published.get(name, [])

    def _write_document(self, final: Path, name: str, data: bytes) -> None:
        """Write ``name``, which may name a folder below ``final`` (``figures/market.svg``)."""
        ensure_directory((final / name).parent)
        self._keep_edited(final, name)
        self._write(final / name, data)

    def _keep_edited(self, final: Path, name: str) -> None:
        """Save a document that a person edited from being overwritten."""
        path = final / name
        if not path.exists():
            return
        data = read_bounded(path, MAX_FILE_BYTES)
        if document_digest(data) in self._published(name):
            return
        kept = path.with_name(edited_name(path.name, {file.name for file in path.parent.iterdir()}))
        self._write(kept, data)
        self._notify(
            _("{file} was edited; your text is kept as {kept}.").format(file=path, kept=kept.name)
        )

    def _save_state(self, **changes: Any) -> None:
        changes["updated"] = self._clock.now()
        self._state = self._state.model_copy(update=changes)
        with self._journal_errors():
            self._write_json(self.folder / STATE_FILE, self._state)

    def _write_json(self, path: Path, value: BaseModel | dict[str, Any]) -> None:
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        text = json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False)
        self._write(path, encoded(text + "\n"))

    def _write(self, path: Path, data: bytes) -> None:
        """Write durably; on a full disk, into the space that was kept for this."""
        try:
            write_durably(path, data)
        except OSError as error:
            reserve = self.folder / _RESERVE
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not reserve.exists():
                raise
            remove(reserve)
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
        with self._made(spec) as session:
            session.begin()
            return session

    def open(self, session: str) -> LocalSession:
        """Take an existing session.

        Raises ``SessionNotFoundError``, ``SessionInUseError``, ``SessionDamagedError`` or
        ``JournalWriteError``.
        """
        path = self._state_file(session)
        with _held(path.parent, session) as lock:
            for place in (
                path.parent,
                *path.parent.glob(PHASE_FOLDERS),
                path.parent / FINAL_FOLDER,
            ):
                sweep_temporaries(place)
            state = read_model(path, SessionState)
            taken = LocalSession(path.parent, state, self._clock, lock)
            taken.load()
            with contextlib.suppress(OSError):  # a full disk may still have room for small files
                reserve_space(path.parent / _RESERVE, RESERVE_BYTES)
            return taken

    def branch(self, parent: str, spec: SessionSpec) -> LocalSession:
        """Start a session that has the parent's results before ``spec.from_phase``.

        Raises as :meth:`create` and :meth:`open`.
        """
        source = self._state_file(parent).parent
        with self._made(spec) as session:
            session.adopt(source, spec.from_phase)
            session.begin()  # last: a folder without a state is no session
            return session

    def read(self, session: str) -> SessionState:
        """Where a session stands, without taking it."""
        state = read_model(self._state_file(session), SessionState)
        if state.status is SessionStatus.RUNNING and not self._is_held(session):
            return state.model_copy(update={"status": SessionStatus.INTERRUPTED})
        return state

    def sessions(self) -> tuple[SessionState, ...]:
        """Every readable session, newest first."""
        return self.survey().readable

    def survey(self) -> Survey:
        """Every session, also those that cannot be read."""
        readable, damaged = [], []
        for path in sorted(self._root.glob(f"*/{STATE_FILE}")):
            name = path.parent.name
            try:
                readable.append(self.read(name))
            except SessionDamagedError as error:
                damaged.append(DamagedSession(session=name, message=error.message, hint=error.hint))
            except (SessionNotFoundError, InputError):  # removed just now, or no session's name
                continue
        readable.sort(key=lambda state: state.spec.created, reverse=True)
        return Survey(readable=tuple(readable), damaged=tuple(damaged))

    def results(self, session: str) -> tuple[StepRecord, ...]:
        """The remembered results of a session, without taking it."""
        return read_results(self._folder(session))

    def folder(self, session: str) -> Path:
        """The folder of an existing session."""
        return self._state_file(session).parent

    @contextlib.contextmanager
    def _made(self, spec: SessionSpec) -> Iterator[LocalSession]:
        """A new session's folder, held; released again only where the block fails."""
        folder = self._folder(spec.session)
        try:
            if not self._root.exists():
                ensure_directory(self._root)
                write_atomically(self._root / _IGNORE, b"*\n")
            self._sweep()
            create_directory(folder)
            write_atomically(folder / _IGNORE, b"*\n")
            reserve_space(folder / _RESERVE, RESERVE_BYTES)
        except OSError as error:
            raise InputError(
                _("The output folder {folder} cannot be used: {problem}").format(
                    folder=folder, problem=error.strerror or error
                ),
                hint=_("Choose another with --output-dir."),
            ) from error
        with _held(folder, spec.session) as lock:
            state = SessionState(spec=spec, updated=self._clock.now())
            yield LocalSession(folder, state, self._clock, lock)

    def _sweep(self) -> None:
        """Give back the space of sessions whose making was killed. Best effort.

        Their folders have no state. Results in them may be worth something (somebody may have
        removed the state), so a folder goes only if there is nothing else in it.
        """
        long_ago = self._clock.now().timestamp() - ABANDONED_AFTER_S
        for reserve in self._root.glob(f"*/{_RESERVE}"):
            folder = reserve.parent
            with contextlib.suppress(OSError):
                if (folder / STATE_FILE).exists() or reserve.stat().st_mtime > long_ago:
                    continue
                with FileLock(folder / _LOCK, timeout=0, mode=0o600):
                    remove(reserve)
                    if {path.name for path in folder.iterdir()} <= {_LOCK, _OWNER, _IGNORE}:
                        remove_directory(folder)

    def _state_file(self, session: str) -> Path:
        path = self._folder(session) / STATE_FILE
        if not path.is_file():
            raise SessionNotFoundError(
                _("There is no session {id} in {root}.").format(id=session, root=self._root),
                hint=_("`aigenflow status` lists the sessions; --output-dir looks elsewhere."),
            )
        return path

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


@contextlib.contextmanager
def _held(folder: Path, session: str) -> Iterator[FileLock]:
    """The session's lock, taken; released again only where the block fails."""
    lock = _acquire(folder, session)
    try:
        yield lock
    except BaseException:  # a session that was not taken is free for others
        _release(folder, lock)
        raise


def _release(folder: Path, lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # only for a message; the lock must go in any case
        remove(folder / _OWNER)
    lock.release()


def _acquire(folder: Path, session: str) -> FileLock:
    lock = FileLock(folder / _LOCK, timeout=LOCK_PATIENCE_S, mode=0o600)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout:
        owner = _owner(folder) or _("another process")
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
        write_atomically(folder / _OWNER, encoded(f"pid {os.getpid()} on {socket.gethostname()}"))
    return lock


def _owner(folder: Path) -> str:
    try:
        return read_bounded(folder / _OWNER, 1024).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
