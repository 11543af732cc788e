"""Steering a fleet from any machine: submit, cancel, resume, recover, and fetch what is done.

No session runs here. The durable engine is DBOS: it keeps a queue of sessions and the history of
their steps in the same database as the fleet's own tables.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from aigenflow.core.db import (
    DatabaseAwayError,
    DatabaseError,
    PostgresDatabase,
    open_database,
    patiently,
)
from aigenflow.core.errors import ConfigError, InputError, SessionNotFoundError
from aigenflow.engine.fleet_models import (
    FleetSession,
    FleetStatus,
    FleetWorker,
    Overview,
    StepOutput,
)
from aigenflow.engine.fleet_store import FleetStore
from aigenflow.engine.local import LocalEngine, LocalSession
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.engine.runner import Step

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions, WorkflowStatus

_T = TypeVar("_T")

APPLICATION = "aigenflow"
QUEUE = "aigenflow-sessions"
WORKFLOW = "aigenflow.session"

_ALL_STEPS = 1_000_000
"""Beyond the last step of any session: a rewind to there forgets none."""
_AT_ONCE = 500

OnDeath: TypeAlias = Callable[[FleetWorker], None]
"""Clears up what a worker that is gone has left elsewhere: slots, reservations."""


def open_fleet_database(url: str) -> PostgresDatabase:
    """The database of a fleet.

    Raises :class:`~aigenflow.core.errors.ConfigError` where it is none or cannot be reached.
    """
    hint = _("Give --database postgresql://USER@HOST/NAME, or set fleet.database_url.")
    if not url:
        raise ConfigError(_("No database is named for the fleet."), hint=hint)
    with reaching_database():
        database = open_database(url)
    if not isinstance(database, PostgresDatabase):
        database.close()
        raise ConfigError(_("A fleet needs a PostgreSQL database."), hint=hint)
    return database


@contextlib.contextmanager
def reaching_database() -> Iterator[None]:
    """``ConfigError`` in place of :class:`~aigenflow.core.db.DatabaseError`: a command's end."""
    try:
        yield
    except DatabaseError as error:
        raise ConfigError(
            _("The fleet's database cannot be reached: {problem}").format(problem=error),
            hint=_("Is the server running, and may you use it? docs/fleet.md sets one up."),
        ) from error


def engine_url(url: str) -> str:
    """``url`` for the durable engine: text is text also where the server has no locale."""
    if "client_encoding=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}client_encoding=utf8"


def prepare(url: str, database: PostgresDatabase) -> FleetStore:
    """The fleet's tables and the engine's, made where there are none.

    Raises :class:`~aigenflow.core.errors.ConfigError`, and ``DatabaseAwayError``.
    """
    dbos_is_there()
    from dbos import DBOS

    store = FleetStore(database)
    try:
        with engine_errors():
            DBOS.migrate(engine_url(url))
        store.prepare()
    except DatabaseAwayError:
        raise
    except DatabaseError as error:
        raise ConfigError(
            _("The fleet's tables cannot be made: {problem}").format(problem=error),
            hint=_("The user needs the right to create tables and schemas in that database."),
        ) from error
    return store


def dbos_is_there() -> None:
    """Raise :class:`~aigenflow.core.errors.ConfigError` where the engine is not installed."""
    try:
        import dbos  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise ConfigError(
            _("A fleet needs the package dbos, which is not installed."),
            hint=_('Install it with: pip install "aigenflow[fleet]"'),
        ) from error
    logging.getLogger("dbos").setLevel(logging.CRITICAL)


class FleetControl:
    """The hands on a fleet: of one ``version``, where it starts or resumes sessions.

    Methods wait for a server that is away, and raise :class:`~aigenflow.core.db.DatabaseError`
    where it stays away.
    """

    def __init__(self, url: str, store: FleetStore, version: str) -> None:
        dbos_is_there()
        from dbos import DBOSClient, DBOSPortableJSONSerializer

        self.store = store
        self.version = version
        with engine_errors():
            self._client: DBOSClient = DBOSClient(
                system_database_url=engine_url(url),
                serializer=DBOSPortableJSONSerializer(),
                application_name=APPLICATION,
                system_database_pool_size=2,
                retry_connection_errors=False,  # it would do so for ever, and more and more seldom
            )

    def submit(self, specs: Sequence[SessionSpec]) -> None:
        """Let the sessions wait for workers. What is interrupted, :meth:`recover` completes."""
        self.store.add(specs, self.version)
        for spec in specs:
            self._enqueue(spec, self.version)

    def cancel(self, sessions: Sequence[str]) -> list[str]:
        """Let nobody go on with these sessions; return those it concerned.

        A call that is under way ends and is remembered, because it is paid for.
        """
        cancelled = self.store.cancel(sessions)
        _ask(lambda: self._client.cancel_workflows(cancelled))
        return cancelled

    def resume(self, sessions: Sequence[str]) -> list[str]:
        """Let stopped and cancelled sessions wait again; return those it concerned.

        Raises :class:`~aigenflow.core.errors.InputError` for one of another version, which has
        other steps.
        """
        for session in self.store.sessions(sessions):
            if session.version != self.version and session.status in (
                FleetStatus.STOPPED,
                FleetStatus.CANCELLED,
            ):
                raise InputError(
                    _("Session {id} belongs to version {version}; this is {ours}.").format(
                        id=session.spec.session, version=session.version, ours=self.version
                    ),
                    hint=_(
                        "Resume it with that version (fleet.version), or submit its topic anew: "
                        "answers that are still cached cost nothing."
                    ),
                )
        again = self.store.wait_again(sessions, self.version)
        self._revive(again)
        return again

    def recover(self, silent_s: float, on_death: OnDeath) -> tuple[int, int]:
        """Take dead workers' sessions from them, and put waiting ones back that nobody queues.

        Returns how many workers and how many sessions it concerned.
        """
        buried = self.bury(silent_s, on_death)
        adopted = self.adopt()
        waiting = [each.spec.session for each in self.store.sessions(status=FleetStatus.WAITING)]
        return len(buried), adopted + self._revive(waiting)

    def bury(
        self, silent_s: float, on_death: OnDeath, version: str | None = None
    ) -> list[FleetWorker]:
        """Take their sessions from workers that were silent for ``silent_s``; return them."""
        buried = self.store.bury(silent_s, version)
        for worker in buried:
            self.clear_up(worker, on_death)
        return buried

    def clear_up(self, worker: FleetWorker, on_death: OnDeath) -> None:
        """Hand on what a worker had that does no more. Doing it twice changes nothing."""
        on_death(worker)
        for workflow in self._taken(executor_id=worker.id):
            self.requeue(workflow.workflow_id, worker.id)
        self.store.forget(worker.id)

    def adopt(self, version: str | None = None) -> int:
        """Put the sessions back that a worker has whom nobody knows; return how many they were.

        A machine that was suspended may take some in the moment before it notices.
        """
        taken = self._taken(app_version=version)
        known = self.store.worker_ids()  # afterwards: whoever took one had told its name before
        lost = [
            (each.workflow_id, each.executor_id)
            for each in taken
            if each.executor_id and each.executor_id not in known
        ]
        for worker in {worker for _session, worker in lost}:
            self.store.forget(worker)
        return sum(self.requeue(session, worker) for session, worker in lost)

    def requeue(self, session: str, worker: str) -> bool:
        """Put a session back that ``worker`` has; false where it has it no more.

        One statement that names the worker: cancelling and resuming, the public way, could take
        the session from the next one.
        """
        engine = self._client._sys_db  # noqa: SLF001
        return _ask(lambda: engine.reenqueue_for_recovery(session, [worker], QUEUE))

    def overview(self) -> Overview:
        """How many sessions stand where, and who works."""
        return self.store.overview()

    def session(self, name: str) -> FleetSession:
        """Raises :class:`~aigenflow.core.errors.SessionNotFoundError`."""
        is_text = name.isprintable()  # a NUL or half a character is no text to the database
        found = next(self.store.sessions([name]), None) if is_text else None
        if found is None:
            raise SessionNotFoundError(
                _("There is no session {id} in this fleet.").format(id=name),
                hint=_("`aigenflow fleet status` lists them."),
            )
        return found

    def steps(self, session: str) -> list[StepOutput]:
        """The finished steps of a session, in the order of the pipeline."""
        history = _ask(lambda: self._client.list_workflow_steps(session))
        return [StepOutput.model_validate(step["output"]) for step in history if step["output"]]

    async def fetch(self, name: str, engine: LocalEngine) -> Path:
        """Write a session as one machine would have left it; return its folder.

        What is there already stays. Raises
        :class:`~aigenflow.core.errors.SessionNotFoundError` and what ``engine`` raises.
        """
        found = self.session(name)
        published = self.store.publication(name)
        steps = self.steps(name)
        try:
            engine.read(name)
        except SessionNotFoundError:
            taken = engine.create(found.spec)
        else:
            taken = engine.open(name)
        try:
            for step in steps:
                await _remember(taken, step)
            last = max((step.record.phase for step in steps), default=0)
            done = last + 1 if found.status is FleetStatus.COMPLETED else last
            for phase in sorted({step.record.phase for step in steps if step.record.phase < done}):
                taken.phase_done(phase)
            if found.status is FleetStatus.COMPLETED:
                taken.publish(published.documents, published.metadata, published.side_files)
            else:
                taken.stopped(found.message, found.hint)
            return taken.folder
        finally:
            taken.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.destroy()

    def _enqueue(self, spec: SessionSpec, version: str) -> None:
        options: EnqueueOptions = {
            "queue_name": QUEUE,
            "workflow_name": WORKFLOW,
            "workflow_id": spec.session,
            "app_version": version,
        }
        _ask(lambda: self._client.enqueue(options, spec.model_dump(mode="json")))

    def _taken(
        self, *, executor_id: str | None = None, app_version: str | None = None
    ) -> list[WorkflowStatus]:
        """The sessions that a worker took from the queue and has not ended."""
        return _ask(
            lambda: self._client.list_workflows(
                executor_id=executor_id,
                app_version=app_version,
                queue_name=QUEUE,
                status="PENDING",
                load_input=False,
                load_output=False,
            )
        )

    def _revive(self, sessions: Sequence[str]) -> int:
        """Queue the sessions that wait and are not queued; return how many they were."""
        revived = 0
        for at in range(0, len(sessions), _AT_ONCE):
            some = list(sessions[at : at + _AT_ONCE])
            known = {each.workflow_id: each.status for each in _ask(partial(self._statuses, some))}
            for session in self.store.sessions(some):
                name = session.spec.session
                if name not in known:
                    self._enqueue(session.spec, session.version)
                elif known[name] in ("ENQUEUED", "PENDING"):
                    continue
                else:
                    with engine_errors():  # once: what is in the queue cannot be put there again
                        self._client.rewind_workflow(name, start_step=_ALL_STEPS, queue_name=QUEUE)
                revived += 1
        return revived

    def _statuses(self, sessions: list[str]) -> list[WorkflowStatus]:
        return self._client.list_workflows(
            workflow_ids=sessions, load_input=False, load_output=False
        )


def _ask(run: Callable[[], _T]) -> _T:
    """``run()``, repeated while the server is away: for what the engine may be asked twice."""

    def once() -> _T:
        with engine_errors():
            return run()

    return patiently(once)


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """The errors of the engine's driver as those of our own."""
    from sqlalchemy import exc

    try:
        yield
    except exc.SQLAlchemyError as error:
        away = isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError)
        kind = DatabaseAwayError if away else DatabaseError
        raise kind(" ".join(str(error).split())) from error


async def _remember(session: LocalSession, step: StepOutput) -> None:
    record = step.record
    place = Step(
        phase=record.phase,
        phase_name=step.phase_name,
        task=record.task,
        fingerprint=record.fingerprint,
    )
    if session.recall(place) is None:

        async def finished() -> StepRecord:
            return record

        await session.run(place, finished)
