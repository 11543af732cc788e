"""Sessions on many machines: the same pipeline on DBOS, a durable engine on PostgreSQL.

    a session            a workflow in one queue, with a limit per worker and one for the fleet
    a task               a step of it: its result is in the history before the next one begins
    the answer           cached and settled inside the step, so that a step done twice pays once
    the right to write   a run number: whoever takes a session over has the next one

A worker tells now and then that it is alive. One that is silent for too long is buried by the
others: its sessions go back into the queue, its slots are freed, and what it had reserved is booked
as lost. A worker that cannot tell ends before that (:mod:`~aigenflow.engine.fleet_lease`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aigenflow.core.db import DatabaseError, PostgresDatabase
from aigenflow.core.errors import AigenflowError, ConfigError, JournalWriteError
from aigenflow.engine.fleet_control import (
    APPLICATION,
    QUEUE,
    WORKFLOW,
    FleetControl,
    OnDeath,
    engine_errors,
    engine_url,
)
from aigenflow.engine.fleet_lease import BEATS, Lease
from aigenflow.engine.fleet_models import (
    Claim,
    FleetStatus,
    FleetWorker,
    Publication,
    StepOutput,
)
from aigenflow.engine.fleet_store import FleetStore
from aigenflow.engine.models import SessionSpec, StepRecord
from aigenflow.engine.runner import NO_FILES, Runner, Step

if TYPE_CHECKING:
    from dbos import StepReservation

MAX_TRIES = 20
"""A session that was taken so often without finishing a step kills its workers, and is stopped."""

GRACE_S = 2.5
"""How long a worker that is asked to end waits for the calls under way, in seconds."""

RETRY_PAUSE_S = 1.0
"""How long a session rests whose books could not be written, in seconds."""

_AWAY = (DatabaseError, JournalWriteError)
"""What is raised where the database does not do what it must, for now."""

Write: TypeAlias = Callable[[Runner], Awaitable[object]]
"""Does what is left of a session: the pipeline."""

OnSession: TypeAlias = Callable[[str, FleetStatus, str], None]
"""Told the session, where it stands now, and why."""


def ignore_session(session: str, status: FleetStatus, message: str) -> None:
    """An ``OnSession`` that does nothing."""


class HandedOverError(BaseException):
    """The session is another worker's from here on. Nobody below may take it for a failure."""


class UnrecordedError(BaseException):
    """Carries a step's error past the history, which would repeat it for ever."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works. Durations in seconds.

    ``steps`` are the names of the pipeline's steps, in its order. ``owner`` identifies this
    process to the ledger. ``sessions`` at most are written at the same time by this worker,
    ``fleet_sessions`` by all (``None``: no limit).
    """

    url: str
    version: str
    steps: Sequence[str]
    owner: str
    sessions: int = 20
    fleet_sessions: int | None = None
    poll_s: float = 1.0
    dead_after_s: float = 15.0


class FleetRunner:
    """One session in this worker's hands: the :class:`~aigenflow.engine.runner.Runner` of it.

    ``places`` are the steps' places in the history. They are taken before the first step, in the
    pipeline's order, so that it does not matter which of several tasks begins first.
    """

    def __init__(
        self,
        spec: SessionSpec,
        claim: Claim,
        store: FleetStore,
        places: Mapping[str, StepReservation],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._spec = spec
        self._claim = claim
        self._store = store
        self._places = dict(places)
        self._is_stopping = is_stopping
        self._has_finished_a_step = False
        self.published = Publication()

    @property
    def spec(self) -> SessionSpec:
        return self._spec

    def recall(self, step: Step) -> StepRecord | None:
        """Nothing: :meth:`run` finds what is in the history."""
        return None

    async def run(self, step: Step, action: Callable[[], Awaitable[StepRecord]]) -> StepRecord:
        from dbos import DBOS

        place = self._places.pop(step.name, None) or DBOS.reserve_step()

        async def attempt() -> dict[str, Any]:
            await self._check_right(step)
            try:
                output = _as_json(StepOutput(phase_name=step.phase_name, record=await action()))
            except Exception as error:  # noqa: BLE001 - what is recorded is repeated for ever
                raise UnrecordedError(error) from None
            self._has_finished_a_step = True
            return output

        try:
            output = await place.run_async({"name": step.name}, attempt)
        except UnrecordedError as failed:
            raise failed.error from failed.error.__cause__
        return StepOutput.model_validate(output).record

    def phase_done(self, phase: int) -> None:
        """The next step tells."""

    def stopped(self, message: str, hint: str) -> None:
        """The worker writes it down, with the error that follows."""

    def publish(
        self,
        documents: Mapping[str, bytes],
        metadata: Mapping[str, Any],
        side_files: Mapping[str, bytes] = NO_FILES,
    ) -> Path:
        """The worker keeps them once the pipeline has ended."""
        self.published = Publication(
            documents=dict(documents), metadata=dict(metadata), side_files=dict(side_files)
        )
        return Path(self._spec.session) / "final"

    async def _check_right(self, step: Step) -> None:
        """Buy nothing for a session that is another's by now, or soon will be."""
        if self._is_stopping() or not await asyncio.to_thread(
            self._store.advance,
            self._claim,
            step.phase,
            has_finished_a_step=self._has_finished_a_step,
        ):
            raise HandedOverError


class FleetWorkerProcess:
    """One worker: takes sessions from the queue and writes them, until it is cancelled.

    One per process, because the engine below is. ``write`` runs the pipeline; ``on_finished``
    is awaited with the name of each finished session. ``on_lost`` is called from a thread where
    the others have given this worker up or soon will, and must end the process at once.
    """

    def __init__(
        self,
        name: str,
        options: WorkerOptions,
        control: FleetControl,
        write: Write,
        *,
        on_death: OnDeath,
        on_lost: Callable[[], None],
        on_session: OnSession = ignore_session,
        on_finished: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self.worker = FleetWorker(id=name, version=options.version, owner=options.owner)
        self._options = options
        self._control = control
        self._store = control.store
        self._write = write
        self._on_death = on_death
        self._on_lost = on_lost
        self._on_session = on_session
        self._on_finished = on_finished
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._is_stopping = False

    async def run(self) -> None:
        """Work until cancelled; then end within a few seconds, and hand back what is not done.

        Raises ``DatabaseError`` where the database stays away.
        """
        with contextlib.closing(await asyncio.to_thread(self._open_pulse)) as pulse:
            lease = Lease(
                lambda: pulse.beat(self.worker.id), self._options.dead_after_s, self._on_lost
            )
            await asyncio.to_thread(self._store.register, self.worker)
            lease.start()
            try:
                await self._launch()
                await self._look_after_others()
            finally:
                await self._end_work()
                lease.end()
                with contextlib.suppress(*_AWAY, ConfigError):  # then the others will find out
                    await asyncio.to_thread(self._control.clear_up, self.worker, self._on_death)

    def _open_pulse(self) -> FleetStore:
        """A connection that waits for nobody else's statements."""
        return FleetStore(PostgresDatabase(self._options.url))

    async def _launch(self) -> None:
        with engine_errors():
            await self._launch_engine()

    async def _launch_engine(self) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": engine_url(self._options.url),
                "application_version": self._options.version,
                "executor_id": self.worker.id,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "CRITICAL",
                "sys_db_pool_size": 5,
                "run_migrations": False,
            }
        )

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        async def session(spec: dict[str, Any]) -> str:
            return await self._session(spec)

        DBOS.listen_queues([QUEUE])
        DBOS.launch()  # on this loop's thread: the sessions run here
        await DBOS.register_queue_async(
            QUEUE,
            worker_concurrency=self._options.sessions,
            global_concurrency=self._options.fleet_sessions,
            polling_interval_sec=self._options.poll_s,
            on_conflict="always_update",
        )

    async def _look_after_others(self) -> None:
        """Take over, again and again, from those who are silent."""
        version = self._options.version
        with contextlib.suppress(DatabaseError):
            await asyncio.to_thread(self._control.adopt, version)
        while True:
            # Whoever is not cleared up after is given to the next who looks. A ledger that cannot
            # be opened is a ConfigError; the lease tells if the database stays away.
            with contextlib.suppress(*_AWAY, ConfigError):
                await asyncio.to_thread(
                    self._control.bury, self._options.dead_after_s, self._on_death, version
                )
            await asyncio.sleep(self._options.dead_after_s / BEATS)

    # One session

    async def _session(self, plain: dict[str, Any]) -> str:
        """The workflow: its steps are the pipeline's, its result the status it ended with."""
        spec = SessionSpec.model_validate(plain)
        places = self._take_places()
        claim: Claim | None = None
        with self._at_work(spec.session):
            try:
                claim = await self._claim(spec.session)
                if claim is None:
                    return await self._conclude(spec.session)
                runner = FleetRunner(spec, claim, self._store, places, lambda: self._is_stopping)
                return await self._write_session(runner, claim)
            except _AWAY:  # nor may the engine hear of it: it would end the session for good
                await self._rest(spec.session, claim)
                raise asyncio.CancelledError from None
            except _lost_rights():
                raise asyncio.CancelledError from None

    def _take_places(self) -> dict[str, StepReservation]:
        from dbos import DBOS

        return {name: DBOS.reserve_step() for name in self._options.steps}

    async def _claim(self, session: str) -> Claim | None:
        if self._is_stopping:
            raise asyncio.CancelledError
        claim = await asyncio.to_thread(self._store.claim, session, self.worker.id)
        if claim is None and not await asyncio.to_thread(self._store.beat, self.worker.id):
            # The others have given this worker up, and look for what it had no more.
            await asyncio.to_thread(self._control.requeue, session, self.worker.id)
            raise HandedOverError
        if claim is None or claim.tries <= MAX_TRIES:
            return claim
        message = _("The session was begun {count} times without finishing a step.").format(
            count=claim.tries - 1
        )
        await self._stop_session(claim, message, _("Its workers may have died of it."))
        return None

    async def _conclude(self, session: str) -> str:
        """What became of a session that has ended: who finished it may have died telling so."""
        found = await asyncio.to_thread(lambda: next(self._store.sessions([session]), None))
        status = found.status if found else FleetStatus.CANCELLED
        if status is FleetStatus.COMPLETED and self._on_finished is not None:
            await self._on_finished(session)
        return status.value

    async def _write_session(self, runner: FleetRunner, claim: Claim) -> str:
        try:
            await self._write(runner)
        except _AWAY:
            raise
        except AigenflowError as error:
            return await self._stop_session(claim, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - a bug ends its session, not all of them
            problem = f"{type(error).__name__}: {error}"
            message = _("This is a bug in aigenflow: {problem}").format(problem=problem[:500])
            return await self._stop_session(claim, message, "")
        if not await asyncio.to_thread(self._store.finish, claim, runner.published):
            raise HandedOverError
        if self._on_finished is not None:
            await self._on_finished(claim.session)
        self._on_session(claim.session, FleetStatus.COMPLETED, "")
        return FleetStatus.COMPLETED.value

    async def _stop_session(self, claim: Claim, message: str, hint: str) -> str:
        if not await asyncio.to_thread(self._store.stop, claim, message, hint):
            raise HandedOverError
        self._on_session(claim.session, FleetStatus.STOPPED, message)
        return FleetStatus.STOPPED.value

    async def _rest(self, session: str, claim: Claim | None) -> None:
        """Put a session back for which the database was away, as soon as it is there again."""
        while True:
            await asyncio.sleep(RETRY_PAUSE_S)
            with contextlib.suppress(DatabaseError):
                if claim is not None:
                    await asyncio.to_thread(self._store.hand_back, claim)
                await asyncio.to_thread(self._control.requeue, session, self.worker.id)
                return

    @contextlib.contextmanager
    def _at_work(self, session: str) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._running[session] = task
        try:
            yield
        finally:
            if self._running.get(session) is task:
                del self._running[session]

    # The end

    async def _end_work(self) -> None:
        """End what can be ended in time, and cancel the rest."""
        from dbos import DBOS

        self._is_stopping = True
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=GRACE_S)
        left = list(self._running.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as ending:
            await loop.run_in_executor(ending, DBOS.destroy)
        loop.set_default_executor(ThreadPoolExecutor())  # the engine took its own with it


def _lost_rights() -> tuple[type[BaseException], ...]:
    """What is raised where the session is another's, or nobody's, by now."""
    from dbos import error

    return HandedOverError, error.DBOSWorkflowCancelledError, error.DBOSWorkflowConflictIDError


def _as_json(output: StepOutput) -> dict[str, Any]:
    """Plain JSON; what UTF-8 cannot say becomes a question mark, as in a session's files."""
    text = json.dumps(output.model_dump(mode="json"), ensure_ascii=False)
    plain: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
    return plain


def new_worker_id() -> str:
    """A name for a worker: its machine and process, and enough chance that no two are equal."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
