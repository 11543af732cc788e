"""The batch jobs in a database: what was handed in, for whom, and what came back of it.

Strict: what a job is made of is on disk before the provider hears of it, and what it brought is
on disk before anybody gets it. The same tables serve SQLite and PostgreSQL; times are microseconds
since 1970 (UTC). Which process works a job is decided by a :class:`Claim`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from gettext import gettext as _
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from aigenflow.core.db import Database, DatabaseError, Row, Transaction, Value, open_database
from aigenflow.core.errors import ConfigError, GatewayError, JobItemNotRunError, JournalWriteError
from aigenflow.core.files import ensure_directory
from aigenflow.core.jobs import ItemOutcome, JobState, JobStatus
from aigenflow.core.models import AgentRequest, FinishReason, GatewayResponse, Route

JOBS_FILE = "jobs.db"
LOCKS_FOLDER = "jobs"
LEASE_S = 60.0
"""How long a process that shares jobs over PostgreSQL may be silent before another takes over."""

CHUNK = 500
"""Items that are read or written at once: bounds memory, and how long others wait."""

_AT_HOME = "sqlite:"
_SQLITE = "sqlite:///"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORTH_AGAIN = frozenset({FinishReason.COMPLETE, FinishReason.LENGTH})


class Stage(StrEnum):
    """How far a job has come in our books.

    ``INTENDED``: written down; whether the provider has it is not known. ``SUBMITTED``: the
    provider has it. ``COLLECTED``: every item has its outcome. ``CLOSED``: all of them are paid.
    """

    INTENDED = "intended"
    SUBMITTED = "submitted"
    COLLECTED = "collected"
    CLOSED = "closed"


class Ending(StrEnum):
    """What became of an item. Every item ends in exactly one of the last three."""

    OPEN = "open"
    RESULT = "result"
    ERROR = "error"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch job. ``tag`` is our name of it and ``ids`` are the provider's.

    There is more than one id only where it was submitted twice; the first counts. ``cancelled``
    is when the provider was asked to stop. ``state`` is what it last said; counts are items.
    """

    tag: str
    route: Route
    created: datetime
    size: int
    stage: Stage = Stage.INTENDED
    ids: tuple[str, ...] = ()
    state: JobState | None = None
    submitted: datetime | None = None
    cancelled: datetime | None = None
    succeeded: int = 0
    failed: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One request of a job, and what became of it.

    ``session`` is the one that pays; ``reservation`` is the money set aside for it. ``settled``
    says that the outcome is in the ledger, ``taken`` that somebody got it.
    """

    id: str
    tag: str
    fingerprint: str
    request: AgentRequest
    reservation: str = ""
    outcome: ItemOutcome | None = None
    settled: bool = False
    taken: bool = False

    @property
    def session(self) -> str:
        return self.request.session


def ending_of(outcome: ItemOutcome | None) -> Ending:
    """The one ending that an outcome is."""
    if outcome is None:
        return Ending.OPEN
    if outcome.response is not None:
        return Ending.RESULT
    return Ending.NOT_RUN if isinstance(outcome.error, JobItemNotRunError) else Ending.ERROR


def is_usable(item: Item, *, ours: bool) -> bool:
    """Whether a request like ``item`` is answered by it rather than bought.

    One that is under way, or that nobody has got yet, is. What somebody has got is only for the
    sessions that waited for it (``ours``), in case the process died before they kept it; and an
    error is not told twice.
    """
    if not item.settled or not item.taken:
        return True
    response = item.outcome.response if item.outcome else None
    return ours and response is not None and response.finish_reason in _WORTH_AGAIN


class Claim(Protocol):
    """The right to work a job, held by one process at a time."""

    def renew(self, now: datetime) -> bool:
        """Hold it for longer; false where another process has it by now."""
        ...

    def release(self) -> None:
        """Let others have it."""
        ...


def jobs_url(ledger: str, home: Path) -> str:
    """Where jobs are kept: in the ledger's PostgreSQL, else in a file of the home directory."""
    is_file = ledger == _AT_HOME or ledger.startswith(_SQLITE)
    return f"{_SQLITE}{home / JOBS_FILE}" if is_file else ledger


class JobStore:
    """The jobs and their items. Opened when first needed. Safe to use from several threads.

    Writing raises :class:`~aigenflow.core.errors.JournalWriteError`, reading a
    :class:`~aigenflow.core.errors.ConfigError`.
    """

    def __init__(self, url: str, home: Path) -> None:
        self._url = url
        self._home = home
        self._opened: Database | None = None

    @property
    def is_there(self) -> bool:
        """Whether there can be a job: false where no process has ever made one."""
        if self._opened is not None or not self._url.startswith(_SQLITE):
            return True
        return Path(self._url.removeprefix(_SQLITE)).exists()

    def close(self) -> None:
        """Close the database."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    # Handing in

    def look_up(self, fingerprint: str, session: str) -> Item | None:
        """The newest item that answers the question, for ``session``; see :func:`is_usable`."""
        with _reading():
            return _usable(self._database().query, fingerprint, session)

    def intend(self, job: Job, items: Sequence[Item]) -> dict[str, str]:
        """Write a job down before it is submitted; durable on return.

        A question that another process has handed in meanwhile is left out: returned are the ids
        of the items that answer it instead, by fingerprint.
        """
        elsewhere: dict[str, str] = {}
        with self._writing() as tx:
            new = []
            for item in items:
                found = _usable(tx.execute, item.fingerprint, item.session)
                if found is None:
                    new.append(item)
                else:
                    elsewhere[item.fingerprint] = found.id
            if new:
                _insert(tx, "jobs", _job_values(job, len(new)))
            for number, item in enumerate(new):
                _insert(tx, "job_items", _item_values(item, number))
                _wait_for(tx, item.id, item.session)
        return elsewhere

    def intended_again(self, tag: str, when: datetime) -> None:
        """The provider has refused the job, and is about to be asked for it once more."""
        self._change(tag, created_us=_to_us(when))

    def attach(self, item_id: str, session: str) -> None:
        """Let ``session`` wait for an item that another one pays."""
        with self._writing() as tx:
            _wait_for(tx, item_id, session)

    def submitted(self, tag: str, ids: Sequence[str], status: JobStatus, when: datetime) -> None:
        """The provider has the job, under these ids."""
        self._change(
            tag,
            stage=Stage.SUBMITTED.value,
            ids=json.dumps(list(ids)),
            submitted_us=_to_us(status.submitted or when),
            state=status.state.value,
        )

    def discard(self, tag: str) -> None:
        """Forget a job that surely never reached its provider."""
        with self._writing() as tx:
            tx.execute(
                "DELETE FROM job_waiters WHERE item IN (SELECT id FROM job_items WHERE tag = ?)",
                (tag,),
            )
            tx.execute("DELETE FROM job_items WHERE tag = ?", (tag,))
            tx.execute("DELETE FROM jobs WHERE tag = ?", (tag,))

    # Watching and collecting

    def watched(self, tag: str, status: JobStatus) -> None:
        """What the provider says about the job."""
        self._change(
            tag,
            durable=False,
            state=status.state.value,
            succeeded=status.succeeded,
            failed=status.failed,
            problem=status.problem,
        )

    def cancelling(self, tag: str, when: datetime) -> None:
        """The provider was asked to stop the job."""
        self._change(tag, cancelled_us=_to_us(when))

    def record(self, tag: str, outcomes: Sequence[ItemOutcome]) -> None:
        """Keep the outcomes of all items; durable on return. What has one already keeps it."""
        for some in _chunks(outcomes):
            with self._writing() as tx:
                for outcome in some:
                    tx.execute(
                        "UPDATE job_items SET outcome = ?, ending = ? "
                        "WHERE id = ? AND tag = ? AND ending = 'open'",
                        (encode_outcome(outcome), ending_of(outcome).value, outcome.id, tag),
                    )
        self._change(tag, stage=Stage.COLLECTED.value)

    def settled(self, outcomes: Sequence[ItemOutcome]) -> None:
        """These outcomes are in the ledger; they know what they cost now."""
        with self._writing() as tx:
            for outcome in outcomes:
                tx.execute(
                    "UPDATE job_items SET outcome = ?, settled = 1 WHERE id = ?",
                    (encode_outcome(outcome), outcome.id),
                )

    def closed(self, tag: str, when: datetime) -> None:
        """Every item of the job is settled."""
        self._change(tag, stage=Stage.CLOSED.value, closed_us=_to_us(when))

    def take(self, item_id: str, session: str, when: datetime) -> None:
        """``session`` has got the outcome."""
        with self._writing(durable=False) as tx:
            tx.execute(
                "UPDATE job_items SET taken_us = ? WHERE id = ? AND taken_us IS NULL",
                (_to_us(when), item_id),
            )
            _wait_for(tx, item_id, session)

    def prune(self, before: datetime) -> int:
        """Remove what somebody got before that time; return how many items."""
        with self._writing(durable=False) as tx:
            gone = tx.execute(
                "DELETE FROM job_items WHERE settled = 1 AND taken_us < ? RETURNING 1",
                (_to_us(before),),
            )
            if gone:
                tx.execute("DELETE FROM job_waiters WHERE item NOT IN (SELECT id FROM job_items)")
                tx.execute(
                    "DELETE FROM jobs WHERE stage = 'closed' "
                    "AND tag NOT IN (SELECT tag FROM job_items)"
                )
        return len(gone)

    # Reading

    def job(self, tag: str) -> Job | None:
        """The job of that tag."""
        return next(iter(self._jobs("WHERE tag = ?", (tag,))), None)

    def jobs(self, *, only_open: bool = False) -> list[Job]:
        """All jobs, oldest first."""
        if not self.is_there:
            return []
        return self._jobs("WHERE stage <> 'closed'" if only_open else "", ())

    def item(self, item_id: str) -> Item | None:
        """One item."""
        with _reading():
            rows = self._database().query(_SELECT_ITEM + "WHERE id = ?", (item_id,))
        return _item(rows[0]) if rows else None

    def items(self, tag: str) -> Iterator[list[Item]]:
        """The items of a job in their order, at most :data:`CHUNK` at once."""
        last = -1
        while True:
            with _reading():
                rows = self._database().query(
                    _SELECT_ITEM + "WHERE tag = ? AND number > ? ORDER BY number LIMIT ?",
                    (tag, last, CHUNK),
                )
            if not rows:
                return
            yield [_item(row) for row in rows]
            last = rows[-1][_ITEM_COLUMNS.index("number")]

    def item_ids(self, tag: str) -> list[str]:
        """The ids of a job's items, in their order."""
        with _reading():
            rows = self._database().query(
                "SELECT id FROM job_items WHERE tag = ? ORDER BY number", (tag,)
            )
        return [row[0] for row in rows]

    def endings(self, tag: str) -> dict[Ending, int]:
        """How many of a job's items ended how."""
        with _reading():
            rows = self._database().query(
                "SELECT ending, COUNT(*) FROM job_items WHERE tag = ? GROUP BY ending", (tag,)
            )
        return {Ending(ending): int(count) for ending, count in rows}

    def sessions(self, tag: str) -> list[str]:
        """The sessions that wait for something of the job, by name."""
        with _reading():
            rows = self._database().query(
                "SELECT DISTINCT session FROM job_waiters WHERE item IN "
                "(SELECT id FROM job_items WHERE tag = ?) ORDER BY session",
                (tag,),
            )
        return [row[0] for row in rows]

    def unsettled_for(self, session: str) -> list[Item]:
        """The items that ``session`` waits for and that are not settled."""
        if not self.is_there:
            return []
        with _reading():
            rows = self._database().query(
                _SELECT_ITEM + f"WHERE {_WAITED_FOR} ORDER BY id",
                (session,),
            )
        return [_item(row) for row in rows]

    # Who works a job

    def claim(self, tag: str, now: datetime) -> Claim | None:
        """The right to work a job; ``None`` where another process has it."""
        if self._url.startswith(_SQLITE):
            return _file_claim(ensure_directory(self._home / LOCKS_FOLDER) / f"{tag}.lock")
        with self._writing() as tx:
            holder = secrets.token_hex(8)
            taken = tx.execute(
                "INSERT INTO job_leases (tag, holder, until_us) VALUES (?, ?, ?) "
                "ON CONFLICT (tag) DO UPDATE SET holder = excluded.holder, "
                "until_us = excluded.until_us WHERE job_leases.until_us < ? RETURNING 1",
                (tag, holder, _to_us(now) + _LEASE_US, _to_us(now)),
            )
        return _Lease(self, tag, holder) if taken else None

    def extend_lease(self, tag: str, holder: str, now: datetime) -> bool:
        """Let ``holder`` work the job for longer; false where it lost the right."""
        with self._writing(durable=False) as tx:
            return bool(
                tx.execute(
                    "UPDATE job_leases SET until_us = ? WHERE tag = ? AND holder = ? RETURNING 1",
                    (_to_us(now) + _LEASE_US, tag, holder),
                )
            )

    def end_lease(self, tag: str, holder: str) -> None:
        """Let others work the job."""
        with self._writing(durable=False) as tx:
            tx.execute("DELETE FROM job_leases WHERE tag = ? AND holder = ?", (tag, holder))

    # The database

    def _database(self) -> Database:
        if self._opened is None:
            database = open_database(self._url)
            try:
                with database.transaction() as tx:
                    for statement in _SCHEMA:
                        tx.execute(statement)
            except BaseException:  # a store that cannot be used is not left open
                database.close()
                raise
            self._opened = database
        return self._opened

    def _jobs(self, where: str, values: Sequence[Value]) -> list[Job]:
        columns = ", ".join(_JOB_COLUMNS)
        with _reading():
            rows = self._database().query(
                f"SELECT {columns} FROM jobs {where} ORDER BY created_us, tag",  # noqa: S608 - own names
                values,
            )
        return [_job(row) for row in rows]

    def _change(self, tag: str, *, durable: bool = True, **values: Value) -> None:
        settings = ", ".join(f"{name} = ?" for name in values)
        with self._writing(durable=durable) as tx:
            tx.execute(f"UPDATE jobs SET {settings} WHERE tag = ?", (*values.values(), tag))  # noqa: S608 - own names

    @contextlib.contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[Transaction]:
        try:
            with self._database().transaction(durable=durable) as tx:
                yield tx
        except DatabaseError as error:
            raise JournalWriteError(
                _("The list of batch jobs cannot be written: {problem}").format(problem=error),
                hint=_("Nothing more is bought until it can. Free some space, then resume."),
            ) from error


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise ConfigError(
            _("The list of batch jobs cannot be read: {problem}").format(problem=error),
            hint=_("Check jobs.db in the home directory, and that you may read and write it."),
        ) from error


@dataclass(frozen=True, slots=True)
class _FileClaim:
    lock: FileLock

    def renew(self, now: datetime) -> bool:
        return True

    def release(self) -> None:
        self.lock.release()


def _file_claim(path: Path) -> Claim | None:
    lock = FileLock(path, timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return _FileClaim(lock)


@dataclass(frozen=True, slots=True)
class _Lease:
    store: JobStore
    tag: str
    holder: str

    def renew(self, now: datetime) -> bool:
        return self.store.extend_lease(self.tag, self.holder, now)

    def release(self) -> None:
        self.store.end_lease(self.tag, self.holder)


# Tables and rows

_LEASE_US = int(LEASE_S * 1e6)
_JOB_COLUMNS = (
    *("tag", "stage", "route", "ids", "state", "created_us", "submitted_us", "cancelled_us"),
    *("closed_us", "size", "succeeded", "failed", "problem"),
)
_ITEM_COLUMNS = (
    *("id", "tag", "number", "fingerprint", "request", "reservation"),
    *("outcome", "ending", "settled", "taken_us"),
)
_SELECT_ITEM = f"SELECT {', '.join(_ITEM_COLUMNS)} FROM job_items "  # noqa: S608 - own names
_WAITED_FOR = "settled = 0 AND id IN (SELECT item FROM job_waiters WHERE session = ?)"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS jobs (tag TEXT PRIMARY KEY, stage TEXT NOT NULL, "
    "route TEXT NOT NULL, ids TEXT NOT NULL, state TEXT NOT NULL, created_us BIGINT NOT NULL, "
    "submitted_us BIGINT, cancelled_us BIGINT, closed_us BIGINT, size BIGINT NOT NULL, "
    "succeeded BIGINT NOT NULL, failed BIGINT NOT NULL, problem TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS job_items (id TEXT PRIMARY KEY, tag TEXT NOT NULL, "
    "number BIGINT NOT NULL, fingerprint TEXT NOT NULL, request TEXT NOT NULL, "
    "reservation TEXT NOT NULL, outcome TEXT, ending TEXT NOT NULL, settled BIGINT NOT NULL, "
    "taken_us BIGINT)",
    "CREATE INDEX IF NOT EXISTS job_items_by_question ON job_items (fingerprint)",
    "CREATE INDEX IF NOT EXISTS job_items_by_job ON job_items (tag, number)",
    "CREATE TABLE IF NOT EXISTS job_waiters (item TEXT NOT NULL, session TEXT NOT NULL, "
    "PRIMARY KEY (item, session))",
    "CREATE TABLE IF NOT EXISTS job_leases (tag TEXT PRIMARY KEY, holder TEXT NOT NULL, "
    "until_us BIGINT NOT NULL)",
)


def _usable(
    query: Callable[[str, Sequence[Value]], list[Row]], fingerprint: str, session: str
) -> Item | None:
    rows = query(
        _SELECT_ITEM + "WHERE fingerprint = ? ORDER BY settled, taken_us IS NOT NULL, id DESC",
        (fingerprint,),
    )
    for item in map(_item, rows):
        ours = bool(session) and bool(
            query("SELECT 1 FROM job_waiters WHERE item = ? AND session = ?", (item.id, session))
        )
        if is_usable(item, ours=ours):
            return item
    return None


def _insert(tx: Transaction, table: str, values: Mapping[str, Value]) -> None:
    marks = ", ".join("?" * len(values))
    tx.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", (*values.values(),))  # noqa: S608 - own names


def _wait_for(tx: Transaction, item_id: str, session: str) -> None:
    tx.execute(
        "INSERT INTO job_waiters (item, session) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (item_id, session),
    )


def _job_values(job: Job, size: int) -> dict[str, Value]:
    return {
        "tag": job.tag,
        "stage": job.stage.value,
        "route": encode(job.route),
        "ids": json.dumps(list(job.ids)),
        "state": "",
        "created_us": _to_us(job.created),
        "size": size,
        "succeeded": 0,
        "failed": 0,
        "problem": "",
    }


def _item_values(item: Item, number: int) -> dict[str, Value]:
    return {
        "id": item.id,
        "tag": item.tag,
        "number": number,
        "fingerprint": item.fingerprint,
        "request": encode(item.request),
        "reservation": item.reservation,
        "ending": Ending.OPEN.value,
        "settled": 0,
    }


def _job(row: Row) -> Job:
    value = dict(zip(_JOB_COLUMNS, row, strict=True))
    return Job(
        tag=value["tag"],
        stage=Stage(value["stage"]),
        route=_route_reader().validate_json(value["route"]),
        ids=tuple(json.loads(value["ids"])),
        state=JobState(value["state"]) if value["state"] else None,
        created=_from_us(value["created_us"]),
        submitted=_optional_time(value["submitted_us"]),
        cancelled=_optional_time(value["cancelled_us"]),
        size=value["size"],
        succeeded=value["succeeded"],
        failed=value["failed"],
        problem=value["problem"],
    )


def _item(row: Row) -> Item:
    value = dict(zip(_ITEM_COLUMNS, row, strict=True))
    outcome = value["outcome"]
    return Item(
        id=value["id"],
        tag=value["tag"],
        fingerprint=value["fingerprint"],
        request=_request_reader().validate_json(value["request"]),
        reservation=value["reservation"],
        outcome=None if outcome is None else decode_outcome(value["id"], outcome),
        settled=bool(value["settled"]),
        taken=value["taken_us"] is not None,
    )


def _chunks(outcomes: Sequence[ItemOutcome]) -> Iterator[Sequence[ItemOutcome]]:
    for start in range(0, len(outcomes), CHUNK):
        yield outcomes[start : start + CHUNK]


# JSON


@cache
def _request_reader() -> TypeAdapter[AgentRequest]:
    return TypeAdapter(AgentRequest)


@cache
def _route_reader() -> TypeAdapter[Route]:
    return TypeAdapter(Route)


def encode(noun: AgentRequest | Route) -> str:
    """A request or a route as JSON, every text in it verbatim."""
    return json.dumps(_by_name(noun), ensure_ascii=False, default=_plain)


def _by_name(noun: Any) -> dict[str, Any]:
    return {field.name: getattr(noun, field.name) for field in fields(noun)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.isoformat() if isinstance(value, datetime) else _by_name(value)


def encode_outcome(outcome: ItemOutcome) -> str:
    """An outcome as JSON: the answer, or the error with its kind and the answer it came with."""
    error = outcome.error
    if error is None:
        return json.dumps({"response": _response_value(outcome.response)}, ensure_ascii=False)
    about = {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "provider": error.provider,
        "status": error.status,
        "possibly_billed": error.possibly_billed,
    }
    value = {"error": about, "response": _response_value(error.response)}
    return json.dumps(value, ensure_ascii=False)


def decode_outcome(item_id: str, text: str) -> ItemOutcome:
    """The outcome that :func:`encode_outcome` made this of."""
    value = json.loads(text)
    answer = value.get("response")
    response = None if answer is None else GatewayResponse.model_validate(answer)
    about = value.get("error")
    if about is None:
        return ItemOutcome(id=item_id, response=response)
    kind = _kinds().get(about.pop("kind"), GatewayError)
    error = kind(about["message"], hint=about["hint"])
    error.provider, error.status = about["provider"], about["status"]
    error.possibly_billed, error.response = about["possibly_billed"], response
    return ItemOutcome(id=item_id, error=error)


def _response_value(response: GatewayResponse | None) -> Any:
    if response is None:
        return None
    try:
        return json.loads(response.model_dump_json())
    except PydanticSerializationError:  # half a character, which UTF-8 cannot say
        content = response.content.encode("utf-8", "replace").decode()
        readable = response.model_copy(update={"content": content, "raw": None, "citations": ()})
        return json.loads(readable.model_dump_json())


@cache
def _kinds() -> dict[str, type[GatewayError]]:
    """Every kind of provider's error by its name."""
    found, left = {GatewayError.__name__: GatewayError}, [GatewayError]
    while left:
        for kind in left.pop().__subclasses__():
            found[kind.__name__] = kind
            left.append(kind)
    return found


def _to_us(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)


def _from_us(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _optional_time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _from_us(microseconds)
