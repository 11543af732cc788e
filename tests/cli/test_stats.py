"""``aigenflow stats`` through the command line, over a ledger filled by the tracker."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.cli.figures import dollars
from aigenflow.core.clock import Clock
from aigenflow.core.config import load_settings
from aigenflow.core.models import ServedFrom, TokenUsage
from aigenflow.monitoring.models import CallDetails, Estimate, Purpose, Waste
from aigenflow.monitoring.opening import open_tracker
from aigenflow.monitoring.tracker import TokenTracker
from tests.support.commands import NOON, Run, squeezed


def usage(cost: str | None = "0.105", **fields: Any) -> TokenUsage:
    """10,000 tokens in and 5,000 out on claude."""
    call = TokenUsage(
        provider="claude",
        model="claude-sonnet-5-5",
        input_tokens=10_000,
        output_tokens=5_000,
        phase=4,
        task="main",
        session="s1",
        billed_cost=None if cost is None else Decimal(cost),
        when=NOON,
    )
    return replace(call, **fields)


@pytest.fixture
def tracker(aigenflow: Run, own_home: Path, clock: Clock) -> Iterator[TokenTracker]:
    """The ledger that the commands read."""
    opened = open_tracker(load_settings(own_home), own_home, clock)
    yield opened
    opened.close()


def as_json(aigenflow: Run, *arguments: str) -> Any:
    done = aigenflow("stats", "--json", *arguments)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_the_panel_has_a_row_per_provider_and_a_total(aigenflow: Run, tracker: TokenTracker):
    """The panel of the specification, with its example: $0.105, and the sum to the last digit."""
    tracker.track(usage())
    tracker.track(usage("0.000000001", provider="gemini", input_tokens=7, output_tokens=3))
    done = aigenflow("stats")
    assert done.code == 0
    text = squeezed(done.out)
    assert "Token Usage Summary" in text
    assert "Session: all" in text
    assert "Period: month (2026-11-01 .. 2026-11-19, UTC)" in text
    assert "claude 1 0 10,000 5,000 $0.1050" in text
    assert "gemini 1 0 7 3 $0.000000001" in text
    assert "Total 2 0 10,007 5,003 $0.105000001" in text
    assert "No budget is set." in text


def test_looking_at_no_ledger_makes_none(aigenflow: Run, own_home: Path):
    """An empty answer, at once, and no file left behind."""
    done = aigenflow("stats")
    assert done.code == 0
    assert "Nothing was used." in done.out
    assert as_json(aigenflow)["total"]["billed_usd"] == "0"
    assert not own_home.exists()


def test_a_hit_costs_nothing_and_is_told_apart(aigenflow: Run, tracker: TokenTracker):
    """Tokens are those that were billed; a hit is counted and what it saved is told."""
    tracker.track(usage())
    tracker.track(usage("0", served_from=ServedFrom.CACHE, avoided_cost=Decimal("0.105")))
    text = squeezed(aigenflow("stats").out)
    assert "claude 2 1 10,000 5,000 $0.1050" in text
    assert "Saved: $0.1050, 50.0 % of the live full price" in text


def test_an_unknown_cost_is_unknown_with_its_count(aigenflow: Run, tracker: TokenTracker):
    """Never zero: neither in the panel, nor in JSON, nor in CSV."""
    tracker.track(usage(None, provider="chatgpt"))
    tracker.track(usage("0", provider="chatgpt", served_from=ServedFrom.CACHE))
    text = squeezed(aigenflow("stats").out)
    assert "chatgpt 2 1 10,000 5,000 unknown (1)" in text
    assert "Calls without a known price, which no sum contains: 1" in text
    assert as_json(aigenflow)["rows"][0]["billed_usd"] is None
    [row] = csv.DictReader(StringIO(aigenflow("stats", "--csv").out))
    assert row["billed_usd"] == "unknown"
    tracker.track(usage("0.5", provider="chatgpt"))
    text = squeezed(aigenflow("stats").out)
    assert "chatgpt 3 1 20,000 10,000 $0.5000 + unknown (1)" in text
    assert as_json(aigenflow)["total"]["billed_usd"] == "0.500000000"


def test_a_price_that_is_an_estimate_is_marked(aigenflow: Run, tracker: TokenTracker):
    """The count of such calls stands under the table."""
    tracker.track(usage(), details=CallDetails(price_is_estimate=True))
    assert "Calls priced by an estimate: 1" in aigenflow("stats").out


@pytest.mark.parametrize(
    ("period", "calls"),
    [
        ("today", 1),
        ("week", 2),
        ("weekly", 2),
        ("month", 3),
        ("all", 4),
        ("2026-11-01..2026-11-17", 2),
        ("2026-10-19..2026-10-20", 1),
    ],
)
def test_a_period_counts_its_own_days(
    aigenflow: Run, tracker: TokenTracker, period: str, calls: int
):
    """Today, this week from Monday, this month, everything, or from day to day."""
    for days in (0, 2, 9, 30):
        tracker.track(usage(when=NOON - timedelta(days=days)))
    assert as_json(aigenflow, "--period", period)["total"]["calls"] == calls


def test_a_period_that_is_none_is_one_clear_error(aigenflow: Run):
    """Exit code 2 and what can be written instead."""
    done = aigenflow("stats", "--period", "fortnight")
    assert done.code == 2
    assert "fortnight is not a period." in done.err
    assert "2026-11-01..2026-11-15" in done.err


def test_weekly_draws_a_trend(aigenflow: Run, tracker: TokenTracker):
    """One bar per day of the week so far, to scale, also for days without calls."""
    tracker.track(usage("0.5", when=NOON - timedelta(days=3)))
    tracker.track(usage("1", when=NOON))
    lines = [line.strip("│ ") for line in aigenflow("stats", "--period", "weekly").out.splitlines()]
    trend = [line for line in lines if line.startswith("2026-11-1")]
    assert trend == [
        f"2026-11-16  $0.5000  {'█' * 20}",
        "2026-11-17  $0.0000",
        "2026-11-18  $0.0000",
        f"2026-11-19  $1.0000  {'█' * 40}",
    ]
    assert [day["billed_usd"] for day in as_json(aigenflow, "--period", "weekly")["trend"]] == [
        "0.500000000",
        "0",
        "0",
        "1.000000000",
    ]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("provider", ["gemini", "claude"]),
        ("model", ["gemini-3.8-flash", "claude-sonnet-5-5"]),
        ("phase", ["2", "4"]),
        ("task", ["deep_search", "main"]),
        ("session", ["s2", "s1"]),
        ("day", ["2026-11-18", "2026-11-19"]),
    ],
)
def test_rows_can_be_kept_apart_by_anything(
    aigenflow: Run, tracker: TokenTracker, by: str, keys: list[str]
):
    """Dearest first; days and phases in their own order. The rows sum up to the total."""
    tracker.track(usage())
    tracker.track(
        usage(
            "0.3",
            provider="gemini",
            model="gemini-3.8-flash",
            phase=2,
            task="deep_search",
            session="s2",
            when=NOON - timedelta(days=1),
        )
    )
    report = as_json(aigenflow, "--by", by)
    assert [row[by] for row in report["rows"]] == keys
    billed = sum(Decimal(row["billed_usd"]) for row in report["rows"])
    assert billed == Decimal(report["total"]["billed_usd"]) == Decimal("0.405")


def test_a_session_shows_its_estimate_against_what_it_cost(aigenflow: Run, tracker: TokenTracker):
    """Of all time unless a period is given; tokens and dollars, with the deviation."""
    foreseen = Estimate(
        bytes_sent=24_000,
        input_tokens=8_000,
        output_tokens=2_500,
        expected=Decimal("0.1"),
        worst=Decimal("0.2"),
    )
    held = tracker.reserve(foreseen, Purpose(provider="claude", session="s1", phase=4))
    tracker.settle(held, usage(when=NOON - timedelta(days=60)))
    tracker.track(usage(session="s2"))
    text = squeezed(aigenflow("stats", "--session", "s1").out)
    assert "Session: s1 Period: all (all days, UTC)" in text
    assert "Estimate against actual, 1 calls:" in text
    assert "input tokens: 8,000 expected, 10,000 used (+25.0 %)" in text
    assert "cost: $0.1000 expected, $0.2000 at worst, $0.1050 billed (+5.0 %)" in text
    assert as_json(aigenflow, "--session", "s1")["total"]["calls"] == 1
    assert as_json(aigenflow, "--session", "s1", "--period", "month")["total"]["calls"] == 1


def test_a_session_nobody_knows_is_one_clear_error(aigenflow: Run, tracker: TokenTracker):
    """Exit code 2, and how to find the right one. A known one without calls in a period is not."""
    tracker.track(usage())
    done = aigenflow("stats", "--session", "s9")
    assert done.code == 2
    assert "no calls of the session s9" in done.err
    assert "--by session" in done.err
    quiet = aigenflow("stats", "--session", "s1", "--period", "2026-01-01..2026-01-02")
    assert quiet.code == 0
    assert "Nothing was used." in quiet.out


def test_the_share_of_every_budget_is_shown(
    aigenflow: Run, tracker: TokenTracker, monkeypatch: pytest.MonkeyPatch
):
    """Each window is named; money set aside is told."""
    monkeypatch.setenv("AIGENFLOW_BUDGET__DAILY_USD", "0.42")
    monkeypatch.setenv("AIGENFLOW_BUDGET__MONTHLY_USD", "10.5")
    monkeypatch.setenv("AIGENFLOW_BUDGET__SESSION_USD", "1.05")
    monkeypatch.setenv("AIGENFLOW_BUDGET__PHASE_USD", '{"4": 0.21}')
    tracker.track(usage())
    worst = Estimate(
        bytes_sent=1, input_tokens=1, output_tokens=1, expected=None, worst=Decimal("0.01")
    )
    tracker.reserve(worst, Purpose(provider="claude"))
    text = squeezed(aigenflow("stats", "--session", "s1").out)
    assert "Daily budget (2026-11-19): 25.0 % used, $0.1050 of $0.4200; $0.0100 reserved" in text
    assert "Monthly budget (2026-11): 1.0 % used, $0.1050 of $10.5000; $0.0100 reserved" in text
    assert "Session budget (s1): 10.0 % used, $0.1050 of $1.0500" in text
    assert "Phase budget (s1/phase 4): 50.0 % used, $0.1050 of $0.2100" in text
    kinds = [budget["kind"] for budget in as_json(aigenflow)["budgets"]]
    assert kinds == ["day", "month"]


def test_savings_are_told_by_their_cause(aigenflow: Run, tracker: TokenTracker):
    """Live price = billed + saved, and what was wasted with its reason."""
    tracker.track(usage("0", served_from=ServedFrom.CACHE, avoided_cost=Decimal("0.105")))
    tracker.track(usage("0.05", served_from=ServedFrom.BATCH, avoided_cost=Decimal("0.055")))
    tracker.track(usage("0.04", served_from=ServedFrom.FLEX, avoided_cost=Decimal("0.065")))
    details = CallDetails(prompt_cache_saving=Decimal("0.005"), waste=Waste.DISCARDED)
    tracker.track(usage("0.1", provider="chatgpt"), details=details)
    text = squeezed(aigenflow("stats", "--savings").out)
    assert "Savings" in text
    assert "claude $0.3150 $0.2250 $0.0900 $0.0000" in text
    assert "Total $0.4200 $0.2300 $0.1900 $0.1000" in text
    assert "Saved, of the live full price: 54.8 %" in text
    assert "Saved by the response cache: $0.1050" in text
    assert "Saved by prompt caching: $0.0050" in text
    assert "Saved by batch: $0.0550" in text
    assert "Saved by flex: $0.0650" in text
    assert "Wasted on answers that could not be used: $0.1000" in text
    saved = as_json(aigenflow)
    assert Decimal(saved["savings"]["live_price_usd"]) == Decimal("0.42")
    assert Decimal(saved["savings"]["saved_usd"]) == Decimal("0.23")
    assert Decimal(saved["wasted"]["discarded"]) == Decimal("0.1")


def test_only_the_dearest_sessions_are_shown(aigenflow: Run, tracker: TokenTracker):
    """Twenty of them, or as many as asked for, under a total of all; programs get every one."""
    for n in range(1, 24):
        tracker.track(usage(f"0.{n:02}", session=f"session-{n:02}"))
    shown = squeezed(aigenflow("stats", "--by", "session").out)
    assert shown.index("session-23") < shown.index("session-22") < shown.index("session-04")
    assert "session-03" not in shown
    assert "the total has 3 more (--limit)" in shown
    assert "$2.7600" in shown
    two = aigenflow("stats", "--by", "session", "--limit", "2", "--savings").out
    assert "session-22" in two
    assert "session-21" not in two
    assert "21 more" in two
    everything = as_json(aigenflow, "--by", "session")
    assert (len(everything["rows"]), everything["rows_left_out"]) == (23, 0)
    limited = as_json(aigenflow, "--by", "session", "--limit", "5")
    assert (len(limited["rows"]), limited["rows_left_out"]) == (5, 18)
    assert limited["total"] == everything["total"]
    assert len(aigenflow("stats", "--by", "session", "--csv").out.splitlines()) == 24


def test_csv_has_a_line_per_row_and_no_formula(aigenflow: Run, tracker: TokenTracker):
    """Names are defused; numbers stay numbers, negative ones too."""
    details = CallDetails(prompt_cache_saving=Decimal("-0.01"))
    tracker.track(usage(model='=HYPERLINK("http://x","y")'), details=details)
    tracker.track(usage("0.2", model="a,b"))
    first, second = csv.DictReader(StringIO(aigenflow("stats", "--by", "model", "--csv").out))
    assert first["model"] == "a,b"
    assert second["model"] == '\'=HYPERLINK("http://x","y")'
    assert second["prompt_cache_saving_usd"] == "-0.010000000"
    assert second["input_tokens"] == "10000"


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=9))
def test_amounts_are_printed_exactly(amount: Decimal):
    """Every digit is there and at least four decimals."""
    text = dollars(amount)
    assert Decimal(text.replace("$", "").replace(",", "")) == amount
    assert len(text.partition(".")[2]) >= 4


def test_names_cannot_drive_the_terminal_or_the_layout(aigenflow: Run, tracker: TokenTracker):
    """Escape codes are dropped and square brackets are text."""
    tracker.track(usage(model="\x1b[31m[red]evil[/red]"))
    out = aigenflow("stats", "--by", "model").out
    assert "\x1b" not in out
    assert "[red]evil[/red]" in out


def test_json_and_csv_exclude_each_other(aigenflow: Run):
    """One format at a time."""
    done = aigenflow("stats", "--json", "--csv")
    assert done.code == 2


def test_switched_off_monitoring_is_told(aigenflow: Run, monkeypatch: pytest.MonkeyPatch):
    """What is shown then does not grow any more."""
    monkeypatch.setenv("AIGENFLOW_FEATURES__MONITORING_ENABLED", "false")
    assert "monitoring is switched off" in aigenflow("stats").err


def test_a_ledger_that_cannot_be_read_is_one_clear_error(aigenflow: Run, own_home: Path):
    """Exit code 2, and nothing is changed."""
    own_home.mkdir()
    (own_home / "ledger.db").write_bytes(b"not a database at all, but long enough to be read")
    done = aigenflow("stats")
    assert done.code == 2
    assert "The usage ledger cannot be read" in done.err


def test_the_ledger_can_be_elsewhere(
    aigenflow: Run, own_home: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    """``ledger.url`` names another database."""
    monkeypatch.setenv("AIGENFLOW_LEDGER__URL", f"sqlite:///{tmp_path}/shared.db")
    opened = open_tracker(load_settings(own_home), own_home, clock)
    opened.track(usage())
    opened.close()
    assert (tmp_path / "shared.db").exists()
    assert as_json(aigenflow)["total"]["calls"] == 1
    assert not (own_home / "ledger.db").exists()


def test_stats_loads_neither_sdks_nor_prices_nor_the_pipeline(own_home: Path):
    """What makes it quick: only the ledger, the settings and the drawing."""
    program = (
        "import sys; from aigenflow.main import main\n"
        "try: main(['stats'])\n"
        "except SystemExit: pass\n"
        "heavy = {'anthropic', 'openai', 'google.genai', 'genai_prices', 'httpx2',\n"
        "         'aigenflow.app', 'aigenflow.pipeline', 'aigenflow.agents'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
