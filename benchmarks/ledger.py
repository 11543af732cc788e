"""What the ledger costs, next to the floor of the same run.

    python benchmarks/ledger.py [ROWS]

Prints medians. ``floor`` lines do the same work with the bare library: one SQLite insert with a
full sync, a group-by over the raw rows, plain Decimal arithmetic.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from targets import at_most

from aigenflow.core.db import SqliteDatabase
from aigenflow.core.models import AgentType, Backend, ServedFrom, TokenCounts, TokenUsage
from aigenflow.monitoring import ledger
from aigenflow.monitoring.async_tracker import AsyncTracker
from aigenflow.monitoring.cost_calculator import price
from aigenflow.monitoring.models import (
    BudgetLimits,
    CallDetails,
    Dimension,
    Estimate,
    Purpose,
)
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.report import read_report
from aigenflow.monitoring.tracker import TokenTracker

START = datetime(2026, 1, 1, tzinfo=UTC)
TASKS = (
    *((1, "brainstorm", "chatgpt"), (1, "validate", "claude"), (2, "deep_search", "gemini")),
    *((2, "fact_check", "perplexity"), (3, "swot_analysis", "chatgpt"), (3, "narrative", "claude")),
    *((4, "main", "claude"), (4, "executive_summary", "chatgpt"), (4, "charts", "gemini")),
    *((5, "verify", "perplexity"), (5, "final_review", "claude"), (5, "polish", "claude")),
)


def median_us(work: Callable[[], object], times: int) -> float:
    """Median time of one call, in microseconds."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


def show(name: str, microseconds: float) -> None:
    print(f"{name:<52} {microseconds:>12,.1f} us")


def usage(number: int, rows: int, dice: random.Random) -> TokenUsage:
    """The calls of one session after another, spread over a year."""
    phase, task, provider = TASKS[number % len(TASKS)]
    return TokenUsage(
        provider=provider,
        model=f"{provider}-model",
        phase=phase,
        task=task,
        session=f"session-{number // 24}",
        input_tokens=dice.randrange(20_000),
        output_tokens=dice.randrange(4_000),
        billed_cost=Decimal(dice.randrange(10**8)).scaleb(-9),
        served_from=dice.choice((ServedFrom.LIVE, ServedFrom.LIVE, ServedFrom.BATCH)),
        when=START + timedelta(days=365) * number / rows,
    )


def fill(path: Path, rows: int) -> None:
    """Write many rows, all in one transaction."""
    dice = random.Random(1)
    database = SqliteDatabase(path)
    ledger.prepare(database)
    details = CallDetails()
    begin = time.perf_counter()
    with database.transaction() as tx:
        for number in range(rows):
            call = usage(number, rows, dice)
            assert call.when
            ledger.append(tx, str(number), call, details, call.when, call.when.date())
    show("append a row, in one transaction", (time.perf_counter() - begin) / rows * 1e6)
    database.close()


def summaries(path: Path, rows: int) -> None:
    """What `aigenflow stats` asks for."""
    begin = time.perf_counter()
    tracker = TokenTracker.open(f"sqlite:///{path}")
    show(f"open a ledger of {rows:,} rows", (time.perf_counter() - begin) * 1e6)
    for by in Dimension:
        show(f"totals by {by.value}", median_us(lambda by=by: tracker.totals(by), 5))
    show("totals of one session", median_us(lambda: tracker.totals(session="session-7"), 5))
    for by in (Dimension.PROVIDER, Dimension.SESSION):

        def report(by: Dimension = by) -> object:
            return read_report(tracker, period="all", by=by, most_sessions=20)

        report_us = median_us(report, 5)
        show(f"`stats --period all --by {by.value}`", report_us)
        note = f"{rows:,} rows"
        at_most(f"stats --period all --by {by.value}", 100, report_us / 1e3, "ms", note)
    tracker.close()
    raw = sqlite3.connect(path)
    statement = "SELECT day, provider, SUM(billed_nano) FROM usage GROUP BY 1, 2"
    show("floor: group by over the raw rows", median_us(raw.execute(statement).fetchall, 1))
    raw.close()


def calls(path: Path) -> None:
    """What one call adds: reserve and settle, or one row of a cache hit."""
    limits = BudgetLimits(daily_usd=Decimal(10**6), monthly_usd=Decimal(10**6))
    tracker = TokenTracker.open(f"sqlite:///{path}", limits)
    one = Decimal("0.01")
    estimate = Estimate(bytes_sent=9, input_tokens=3, output_tokens=3, expected=one, worst=one)
    paid = TokenUsage(provider="claude", input_tokens=3, output_tokens=3, billed_cost=one)
    hit = TokenUsage(
        provider="claude",
        input_tokens=3,
        output_tokens=3,
        billed_cost=Decimal(0),
        served_from=ServedFrom.CACHE,
    )

    def paid_call() -> None:
        tracker.settle(tracker.reserve(estimate, Purpose(provider="claude", session="x")), paid)

    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("CREATE TABLE floor (n INTEGER)")
    insert = "INSERT INTO floor VALUES (1)"
    show("floor: one durable SQLite insert", median_us(lambda: raw.execute(insert), 300))
    raw.execute("PRAGMA synchronous=NORMAL")
    show("floor: one SQLite insert without sync", median_us(lambda: raw.execute(insert), 300))
    raw.close()
    show("reserve and settle a paid call (two durable writes)", median_us(paid_call, 300))
    show("the same, 64 coroutines at once, per call", many_us(tracker, estimate, paid))
    show("track a cache hit", median_us(lambda: tracker.track(hit), 1000))
    tracker.close()


def many_us(tracker: TokenTracker, estimate: Estimate, paid: TokenUsage) -> float:
    """Microseconds per paid call where 64 coroutines make 20 calls each."""

    async def work() -> float:
        both = AsyncTracker(tracker)

        async def spend() -> None:
            for _ in range(20):
                held = await both.reserve(estimate, Purpose(provider="claude", session="x"))
                await both.settle(held, paid)

        begin, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(spend() for _ in range(64)))
        show("processor time of a paid call, 64 at once", (time.process_time() - cpu) / 1280 * 1e6)
        return (time.perf_counter() - begin) / 1280 * 1e6

    return asyncio.run(work())


def prices() -> None:
    """The cost of one call, from its counts."""
    import genai_prices

    book = PriceBook.load()
    counts = TokenCounts(input=90_000, output=1_000, cached_input=50_000)
    model = "claude-haiku-5-5"

    def ours() -> None:
        rates = book.require(AgentType.CLAUDE, Backend.ANTHROPIC, model, START)
        price(counts, rates)

    def theirs() -> None:
        used = genai_prices.Usage(input_tokens=90_000, output_tokens=1_000)
        genai_prices.calc_price(used, model, provider_id="anthropic", genai_request_timestamp=START)

    rate_in, rate_out = Decimal("1E-7"), Decimal("5E-7")
    ours()
    show("floor: two Decimal products and a sum", median_us(lambda: 90 * rate_in + rate_out, 9999))
    ours_us = median_us(ours, 9999)
    show("cost of one call", ours_us)
    show("the same, by genai-prices", median_us(theirs, 999))
    at_most("cost of one call", 5, ours_us, "us")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"SQLite {sqlite3.sqlite_version}, Python {sys.version.split()[0]}, {rows:,} rows")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        fill(path, rows)
        summaries(path, rows)
        calls(path)
    prices()


if __name__ == "__main__":
    main()
