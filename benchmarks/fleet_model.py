"""How a fleet grows: measured on one worker here, worked out for up to a thousand.

    AIGENFLOW_TEST_POSTGRES=postgresql://… python benchmarks/fleet_model.py [DOCUMENTS]
    tests/with_postgres.sh python benchmarks/fleet_model.py

Measures one worker and the wire-format server: CPU, database commits, exclusive transactions and
rows per document, and how long an exclusive transaction takes. Then a closed queueing network
(exact mean value analysis) of ``workers * sessions`` documents that visit three places: their
worker's processor, the one lock of cache and ledger, and the providers, who only take time.

Its limits: every document is the average one; the network and the disk of a larger database are
those of this machine; providers answer in ``CALL_S`` seconds whatever their load, and their own
limits are not in it (a line says what they would have to allow); nobody dies.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from aigenflow.core.db import PostgresDatabase
from aigenflow.testing.process import WireServerProcess

CALL_S = 20.0
"""What a live provider's call is taken to last, in seconds."""

CHAIN = 10
"""Calls of a document that wait for each other; the others run beside them."""

SESSIONS = 20
WORKERS = (1, 2, 4, 10, 30, 100, 300, 1_000)
MANY = 1_000_000

_COUNTING = """
import atexit, sys
from aigenflow.core.db import PostgresDatabase
whole, count = PostgresDatabase.transaction, [0]
def counted(self, **how):
    count[0] += 1
    return whole(self, **how)
PostgresDatabase.transaction = counted
atexit.register(lambda: print("exclusive", count[0], file=sys.stderr))
from aigenflow.main import main
main()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one document needs, and what the database gives. Seconds; counts per document."""

    calls: float
    cpu_s: float
    commits: float
    exclusive: float
    rows: float
    kilobytes: float
    usd: float
    exclusive_s: float
    idle_commits_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A fleet of ``workers``: documents per second, and how busy what they share is (0 to 1)."""

    workers: int
    per_s: float
    lock_busy: float
    cpu_busy: float
    commits_per_s: float


def grow(workers: int, measured: Measured, sessions: int = SESSIONS) -> Grown:
    """Exact mean value analysis. Pure.

    The processors are alike, so one stands for all: each is visited by a document with
    probability ``1 / workers``.
    """
    lock_s = measured.exclusive * measured.exclusive_s
    cpu_s = measured.cpu_s / workers
    think_s = CHAIN * CALL_S
    at_lock = at_cpu = per_s = 0.0
    for documents in range(1, workers * sessions + 1):
        lock_stay_s = lock_s * (1 + at_lock)
        cpu_stay_s = cpu_s * (1 + at_cpu)
        per_s = documents / (think_s + lock_stay_s + workers * cpu_stay_s)
        at_lock, at_cpu = per_s * lock_stay_s, per_s * cpu_stay_s
    return Grown(
        workers=workers,
        per_s=per_s,
        lock_busy=per_s * lock_s,
        cpu_busy=per_s * cpu_s,
        commits_per_s=per_s * measured.commits + workers * measured.idle_commits_per_s,
    )


class _Bench:
    """A database and a wire server of their own, and the program on them."""

    def __init__(self, url: str, wire: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if "AIGENFLOW" not in name}
        self.environ = {
            **kept,
            "AIGENFLOW_HOME": str(folder / "home"),
            "AIGENFLOW_FLEET__DATABASE_URL": url,
            "AIGENFLOW_LOCAL__DISCOVER": "false",
            **{
                f"AIGENFLOW_AGENTS__{agent}__{name}": value
                for agent in ("CLAUDE", "CHATGPT", "GEMINI", "PERPLEXITY")
                for name, value in (("BASE_URL", wire), ("CONCURRENCY", "50"))
            },
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "aigenflow", *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def status(self) -> dict[str, object]:
        return dict(json.loads(self.run("fleet", "status", "--json")))

    def start_worker(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _COUNTING, "worker", "--quiet"],
            cwd=self.folder,
            env=self.environ,
            stderr=subprocess.PIPE,
            text=True,
        )


def measure(url: str, documents: int) -> Measured:
    """One worker, from start to end, after a look at it with nothing to do."""
    with tempfile.TemporaryDirectory() as name, WireServerProcess(state_dir=Path(name)) as wire:
        bench = _Bench(url, wire.url, Path(name))
        bench.run("fleet", "status")
        database = PostgresDatabase(url)
        worker = bench.start_worker()
        time.sleep(6)
        idle = _commits(database)
        time.sleep(10)
        idle_per_s = (_commits(database) - idle) / 10
        cpu, commits, size = _cpu_s(worker.pid), _commits(database), _size(database)
        topics = (f"Meal kits for people with diabetes in district {n}" for n in range(documents))
        (bench.folder / "topics.txt").write_text("\n".join(topics))
        bench.run("submit", "--topics", "topics.txt")
        began = time.monotonic()
        while any(s["status"] != "completed" for s in bench.status()["sessions"]):  # type: ignore[attr-defined]
            time.sleep(1)
        took_s = time.monotonic() - began
        cpu = _cpu_s(worker.pid) - cpu
        commits = _commits(database) - commits - idle_per_s * took_s
        worker.send_signal(signal.SIGTERM)
        _out, told = worker.communicate(timeout=30)
        exclusive = int(told.rsplit("exclusive", 1)[1])
        measured = Measured(
            calls=len(wire.bill) / documents,
            cpu_s=cpu / documents,
            commits=commits / documents,
            exclusive=exclusive / documents,
            rows=_rows(database) / documents,
            kilobytes=(_size(database) - size) / documents / 1024,
            usd=float(Decimal(str(bench.status()["spent_usd"]))) / documents,
            exclusive_s=_exclusive_s(database),
            idle_commits_per_s=idle_per_s,
        )
        database.close()
    print(f"{documents} documents on one worker took {took_s:.0f} s (answers at once).")
    return measured


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _commits(database: PostgresDatabase) -> int:
    [(count,)] = database.query(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(count)


def _size(database: PostgresDatabase) -> int:
    [(size,)] = database.query("SELECT pg_database_size(current_database())")
    return int(size)


def _rows(database: PostgresDatabase) -> int:
    database.execute_once("ANALYZE")
    [(rows,)] = database.query(
        "SELECT CAST(SUM(reltuples) AS BIGINT) FROM pg_class JOIN pg_namespace n "
        "ON n.oid = relnamespace WHERE relkind = 'r' AND reltuples > 0 "
        "AND nspname IN ('public', 'dbos')"
    )
    return int(rows)


def _exclusive_s(database: PostgresDatabase) -> float:
    """How long others wait for one exclusive transaction, durable as a ledger row."""
    with database.transaction() as tx:
        tx.execute("CREATE TABLE IF NOT EXISTS bench (n BIGINT)")
    taken = []
    for n in range(300):
        began = time.perf_counter()
        with database.transaction() as tx:
            tx.execute("INSERT INTO bench VALUES (?)", (n,))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    url = os.environ["AIGENFLOW_TEST_POSTGRES"]
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    measured = measure(url, documents)
    print(
        f"Per document: {measured.calls:.1f} calls, {measured.cpu_s:.2f} s of processor, "
        f"{measured.commits:.0f} commits, {measured.exclusive:.0f} of them exclusive, "
        f"{measured.rows:.0f} rows, {measured.kilobytes:.0f} KB, ${measured.usd:.3f}.\n"
        f"An exclusive transaction takes {measured.exclusive_s * 1e3:.2f} ms; an idle worker makes "
        f"{measured.idle_commits_per_s:.1f} commits/s.\n"
        f"Calls per second and worker, by processor alone: {measured.calls / measured.cpu_s:.0f}.\n"
    )
    print(f"Model: {SESSIONS} documents per worker, {CHAIN} calls of {CALL_S:.0f} s in a row.")
    head = ("workers", "docs/h", "calls/min", "lock busy", "cpu busy", "commits/s", "10^6 docs")
    print("  ".join(f"{title:>10}" for title in head))
    for workers in WORKERS:
        fleet = grow(workers, measured)
        cells = (
            f"{workers:,}",
            f"{fleet.per_s * 3600:,.0f}",
            f"{fleet.per_s * measured.calls * 60:,.0f}",
            f"{fleet.lock_busy:.0%}",
            f"{fleet.cpu_busy:.0%}",
            f"{fleet.commits_per_s:,.0f}",
            f"{MANY / fleet.per_s / 86_400:,.1f} days",
        )
        print("  ".join(f"{cell:>10}" for cell in cells))
    print(
        f"10^6 documents cost ${MANY * measured.usd:,.0f} at the wire server's token counts, "
        f"whatever the number of workers, and take {MANY * measured.kilobytes / 2**20:,.0f} GB.\n"
        "Calls/min is what the providers' limits must allow together; below that, they are the "
        "bottleneck."
    )


if __name__ == "__main__":
    main()
