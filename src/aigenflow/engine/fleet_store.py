"""The fleet's own tables, beside those of the durable engine: sessions, documents, workers.

Every change of a session names the run it belongs to, so that a worker that was only slow changes
nothing any more. Single statements are transactions of their own and wait for nobody; times are
the database's own, so that no two machines need to agree on the hour.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aigenflow.core.db import PostgresDatabase, Row, Value
from aigenflow.engine.fleet_models import (
    Claim,
    FleetSession,
    FleetStatus,
    FleetWorker,
    Overview,
    Publication,
)
from aigenflow.engine.models import SessionSpec

_AT_ONCE = 500

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS fleet_sessions (
        session TEXT PRIMARY KEY, version TEXT NOT NULL, spec TEXT NOT NULL,
        status TEXT NOT NULL, worker TEXT NOT NULL DEFAULT '',
        run BIGINT NOT NULL DEFAULT 0, tries BIGINT NOT NULL DEFAULT 0,
        phase BIGINT NOT NULL DEFAULT 0,
        message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
        metadata TEXT NOT NULL DEFAULT '',
        updated TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp())""",
    "CREATE INDEX IF NOT EXISTS fleet_sessions_open ON fleet_sessions (status, version)",
    """CREATE TABLE IF NOT EXISTS fleet_files (
        session TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, data BYTEA NOT NULL,
        PRIMARY KEY (session, kind, name))""",
    """CREATE TABLE IF NOT EXISTS fleet_workers (
        id TEXT PRIMARY KEY, version TEXT NOT NULL, owner TEXT NOT NULL,
        seen TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), buried TIMESTAMPTZ)""",
)
_SILENCE = "EXTRACT(EPOCH FROM clock_timestamp() - GREATEST(seen, pg_postmaster_start_time()))"
"""Seconds since a worker was heard; nobody could be heard while the server itself was away."""

_SESSION_COLUMNS = "session, spec, version, status, worker, phase, run, message, hint, updated"


class FleetStore:
    """The tables in ``database``. Safe to use from several threads.

    Every method waits for a server that is away, and raises
    :class:`~aigenflow.core.db.DatabaseError`.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def prepare(self) -> None:
        """Make the tables where there are none."""
        with self._database.transaction() as tx:
            for statement in _SCHEMA:
                tx.execute(statement)

    # Sessions

    def add(self, specs: Sequence[SessionSpec], version: str) -> None:
        """Write down new sessions, waiting."""
        for some in _chunks(specs):
            rows = ", ".join(["(?, ?, ?, 'waiting')"] * len(some))
            values = [v for spec in some for v in (spec.session, version, spec.model_dump_json())]
            self._database.query(
                "INSERT INTO fleet_sessions (session, version, spec, status) "  # noqa: S608
                f"VALUES {rows} ON CONFLICT (session) DO NOTHING",
                values,
            )

    def claim(self, session: str, worker: str) -> Claim | None:
        """Take a session; ``None`` where it is not to be run (any more), or not by that worker.

        Others cannot give the worker up meanwhile: they would not find what it takes here.
        """
        rows = self._database.query(
            "WITH alive AS (SELECT id FROM fleet_workers WHERE id = ? AND buried IS NULL FOR SHARE)"
            " UPDATE fleet_sessions SET status = 'running', worker = alive.id, run = run + 1, "
            "tries = tries + 1, message = '', hint = '', updated = clock_timestamp() FROM alive "
            "WHERE session = ? AND status IN ('waiting', 'running') RETURNING run, tries",
            (worker, session),
        )
        return Claim(session=session, run=rows[0][0], tries=rows[0][1]) if rows else None

    def advance(self, claim: Claim, phase: int, *, has_finished_a_step: bool = False) -> bool:
        """Note the phase; false where the session is another's by now.

        Tries that finished a step do not count.
        """
        change = "phase = ?, tries = CASE WHEN ? = 1 THEN 1 ELSE tries END"
        return self._change(claim, change, (phase, int(has_finished_a_step)))

    def stop(self, claim: Claim, message: str, hint: str) -> bool:
        """The session stops here and can be resumed; false as in :meth:`advance`."""
        change = "status = 'stopped', message = ?, hint = ?"
        # Also where it has: of the first time, the answer may have been lost on its way.
        return self._change(claim, change, (message, hint), "('running', 'stopped')")

    def hand_back(self, claim: Claim) -> bool:
        """Somebody else may take it: this try does not count; false as in :meth:`advance`."""
        return self._change(claim, "status = 'waiting', worker = '', tries = tries - 1", ())

    def finish(self, claim: Claim, published: Publication) -> bool:
        """Keep the documents and close the session, together; false as in :meth:`advance`."""
        with self._database.transaction() as tx:
            done = tx.execute(
                "UPDATE fleet_sessions SET status = 'completed', metadata = ?, message = '', "
                "hint = '', updated = clock_timestamp() "
                "WHERE session = ? AND run = ? AND status = 'running' RETURNING 1",
                (_json(published.metadata), claim.session, claim.run),
            )
            for kind, files in _files(published).items() if done else ():
                for name, data in files.items():
                    tx.execute(
                        "INSERT INTO fleet_files (session, kind, name, data) VALUES (?, ?, ?, ?) "
                        "ON CONFLICT (session, kind, name) DO UPDATE SET data = excluded.data",
                        (claim.session, kind, name, data),
                    )
        return bool(done)

    def cancel(self, sessions: Sequence[str]) -> list[str]:
        """Let nobody go on with what is not finished; return those it concerned."""
        return self._set_status(
            sessions, "status = 'cancelled', run = run + 1", "('waiting', 'running', 'stopped')"
        )

    def wait_again(self, sessions: Sequence[str], version: str) -> list[str]:
        """Let stopped and cancelled sessions of ``version`` wait; return those it concerned."""
        return self._set_status(
            sessions,
            "status = 'waiting', worker = '', tries = 0, message = '', hint = ''",
            "('stopped', 'cancelled') AND version = ?",
            (version,),
        )

    def sessions(
        self, names: Sequence[str] = (), status: FleetStatus | None = None
    ) -> Iterator[FleetSession]:
        """Those named, or all; only those of a ``status`` where one is given. Oldest first."""
        where, values = "", []
        if names:
            where, values = f"WHERE session IN ({_marks(names)})", list(names)
        elif status is not None:
            where, values = "WHERE status = ?", [status.value]
        rows = self._database.query(
            f"SELECT {_SESSION_COLUMNS} FROM fleet_sessions {where} ORDER BY session",  # noqa: S608
            values,
        )
        return map(_session, rows)

    def latest(self, limit: int) -> Iterator[FleetSession]:
        """At most ``limit``: those that run, then those that stopped; the last changed first."""
        rows = self._database.query(
            f"SELECT {_SESSION_COLUMNS} FROM fleet_sessions "  # noqa: S608 - nobody's input
            "ORDER BY status = 'running' DESC, status = 'stopped' DESC, updated DESC, session "
            "LIMIT ?",
            (limit,),
        )
        return map(_session, rows)

    def page(self, first: int, count: int, status: FleetStatus | None = None) -> list[FleetSession]:
        """``count`` sessions from the ``first`` on, counted from 0, newest first."""
        where, values = _of_status(status)
        rows = self._database.query(
            f"SELECT {_SESSION_COLUMNS} FROM fleet_sessions {where} "  # noqa: S608 - no input
            "ORDER BY session DESC LIMIT ? OFFSET ?",
            (*values, count, first),
        )
        return list(map(_session, rows))

    def count(self, status: FleetStatus | None = None) -> int:
        """How many sessions there are; of one ``status`` where it is given."""
        where, values = _of_status(status)
        rows = self._database.query(
            f"SELECT COUNT(*) FROM fleet_sessions {where}",  # noqa: S608 - nobody's input
            values,
        )
        return int(rows[0][0])

    def document_sizes(self, session: str) -> dict[str, int]:
        """The documents that the session published, with their size in bytes."""
        rows = self._database.query(
            "SELECT name, OCTET_LENGTH(data) FROM fleet_files "
            "WHERE session = ? AND kind = 'document' ORDER BY name",
            (session,),
        )
        return dict(rows)

    def document(self, session: str, name: str) -> bytes | None:
        """One of these documents; ``None`` where there is none of that name."""
        rows = self._database.query(
            "SELECT data FROM fleet_files WHERE session = ? AND kind = 'document' AND name = ?",
            (session, name),
        )
        return bytes(rows[0][0]) if rows else None

    def metadata(self, session: str) -> Mapping[str, Any]:
        """What is told of the finished session; nothing before."""
        rows = self._database.query(
            "SELECT metadata FROM fleet_sessions WHERE session = ?", (session,)
        )
        return json.loads(rows[0][0]) if rows and rows[0][0] else {}

    def publication(self, session: str) -> Publication:
        """What the session published; nothing where it has not finished."""
        files: dict[str, dict[str, bytes]] = {"document": {}, "side": {}}
        for kind, name, data in self._database.query(
            "SELECT kind, name, data FROM fleet_files WHERE session = ? ORDER BY name", (session,)
        ):
            files[kind][name] = bytes(data)
        return Publication(
            documents=files["document"],
            side_files=files["side"],
            metadata=self.metadata(session),
        )

    # Workers

    def register(self, worker: FleetWorker) -> None:
        """Write down a new worker."""
        self._database.query(
            "INSERT INTO fleet_workers (id, version, owner) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO NOTHING",
            (worker.id, worker.version, worker.owner),
        )

    def beat(self, worker: str) -> bool:
        """The worker is alive; false where others have given it up already."""
        rows = self._database.query(
            "UPDATE fleet_workers SET seen = clock_timestamp() "
            "WHERE id = ? AND buried IS NULL RETURNING 1",
            (worker,),
        )
        return bool(rows)

    def bury(self, after_s: float, version: str | None = None) -> list[FleetWorker]:
        """Give up the workers that were silent for ``after_s``; return those to be cleared up.

        A worker is given to one caller, and to another where that one has not cleared it up
        within ``after_s``.
        """
        of_version = "" if version is None else "AND version = ?"
        values = () if version is None else (version,)
        rows = self._database.query(
            "UPDATE fleet_workers SET buried = clock_timestamp() "  # noqa: S608 - no input
            f"WHERE CASE WHEN buried IS NULL THEN {_SILENCE} ELSE "
            "EXTRACT(EPOCH FROM clock_timestamp() - buried) END "
            f"> CAST(? AS BIGINT) / 1000.0 {of_version} RETURNING id, version, owner",
            (int(after_s * 1000), *values),
        )
        return [FleetWorker(id=each, version=of, owner=owner) for each, of, owner in rows]

    def forget(self, worker: str) -> None:
        """Clear up after a worker that is gone: its sessions wait for another."""
        with self._database.transaction() as tx:
            tx.execute(
                "UPDATE fleet_sessions SET status = 'waiting', worker = '' "
                "WHERE worker = ? AND status = 'running'",
                (worker,),
            )
            tx.execute("DELETE FROM fleet_workers WHERE id = ?", (worker,))

    def worker_ids(self) -> frozenset[str]:
        """The workers that have not been cleared up after."""
        return frozenset(each for (each,) in self._database.query("SELECT id FROM fleet_workers"))

    def overview(self) -> Overview:
        """How many sessions stand where, and who works."""
        counts = self._database.query(
            "SELECT version, status, COUNT(*) FROM fleet_sessions GROUP BY 1, 2 ORDER BY 1, 2"
        )
        workers = self._database.query(
            f"SELECT id, version, owner, {_SILENCE}, "  # noqa: S608 - nobody's input
            "(SELECT COUNT(*) FROM fleet_sessions s WHERE s.worker = w.id AND s.status = 'running')"
            " FROM fleet_workers w WHERE buried IS NULL ORDER BY id"
        )
        return Overview(
            counts={(version, FleetStatus(status)): n for version, status, n in counts},
            workers=tuple(
                FleetWorker(
                    id=each, version=of, owner=owner, silent_s=float(silent), sessions=sessions
                )
                for each, of, owner, silent, sessions in workers
            ),
        )

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _change(
        self, claim: Claim, change: str, values: tuple[Value, ...], from_: str = "('running')"
    ) -> bool:
        rows = self._database.query(
            f"UPDATE fleet_sessions SET {change}, updated = clock_timestamp() "  # noqa: S608
            f"WHERE session = ? AND run = ? AND status IN {from_} RETURNING 1",
            (*values, claim.session, claim.run),
        )
        return bool(rows)

    def _set_status(
        self, sessions: Sequence[str], change: str, from_: str, values: tuple[Value, ...] = ()
    ) -> list[str]:
        changed: list[str] = []
        for some in _chunks(sessions):
            rows = self._database.query(
                f"UPDATE fleet_sessions SET {change}, updated = clock_timestamp() "  # noqa: S608
                f"WHERE session IN ({_marks(some)}) AND status IN {from_} RETURNING session",
                (*some, *values),
            )
            changed += [session for (session,) in rows]
        return sorted(changed)


def _of_status(status: FleetStatus | None) -> tuple[str, tuple[Value, ...]]:
    """A condition on the status, if any, and its values."""
    return ("", ()) if status is None else ("WHERE status = ?", (status.value,))


def _session(row: Row) -> FleetSession:
    _name, spec, version, status, worker, phase, run, message, hint, updated = row
    return FleetSession(
        spec=SessionSpec.model_validate_json(spec),
        version=version,
        status=FleetStatus(status),
        worker=worker,
        phase=phase,
        runs=run,
        message=message,
        hint=hint,
        updated=updated,
    )


def _files(published: Publication) -> dict[str, Mapping[str, bytes]]:
    return {"document": published.documents, "side": published.side_files}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE))


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
