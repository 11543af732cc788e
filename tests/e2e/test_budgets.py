"""Every kind of budget, and what it says, through the command line."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program, Wire

TOPIC = "Subscription meal kits for people with diabetes"
EAST, WEST = "Pacific/Kiritimati", "Etc/GMT+12"
"""26 hours apart: it is never the same day in both."""


@pytest.fixture
def priced(offline: Program, wire: Wire) -> Program:
    """The program with one agent that costs money."""
    offline.environ["AIGENFLOW_AGENTS__CHATGPT__BASE_URL"] = wire.url
    return offline


def ask(program: Program, prompt: str = "Hello there", *options: str, **env: str) -> Any:
    return program("ask", prompt, "--agent", "chatgpt", *options, env=env)


def rows(program: Program, table: str = "usage") -> list[dict[str, Any]]:
    """The ledger's rows, read without the program."""
    connection = sqlite3.connect(Path(program.environ["AIGENFLOW_HOME"]) / "ledger.db")
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly"])
def test_a_call_that_a_calendar_budget_has_no_room_for_is_not_made(
    priced: Program, wire: Wire, kind: str
) -> None:
    """Each kind by itself: exit 3, named, nothing asked and nothing left reserved."""
    done = ask(priced, **{f"AIGENFLOW_BUDGET__{kind.upper()}_USD": "0.0001"})
    assert done.returncode == 3
    assert f"The {kind} budget" in done.stderr
    assert wire.bill() == []
    assert rows(priced, "reservations") == []


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"AIGENFLOW_BUDGET__SESSION_USD": "0.0001"}, "The session budget"),
        ({"AIGENFLOW_BUDGET__PHASE_USD": '{"2": "0.0001"}'}, "phase 2"),
    ],
)
def test_a_sessions_own_budgets_hold(
    priced: Program, wire: Wire, limits: dict[str, str], name: str
) -> None:
    """Of a session, and of one of its phases: the phases before it are written."""
    done = priced("run", "--topic", TOPIC, env=limits)
    assert done.returncode == 3
    assert name in done.stderr
    assert len(wire.bill()) == (2 if "phase" in name else 0)


def test_a_budget_that_only_warns_lets_calls_through_and_says_so(
    priced: Program, wire: Wire
) -> None:
    """on_exceed: warn."""
    limits = {"AIGENFLOW_BUDGET__DAILY_USD": "0.0001", "AIGENFLOW_BUDGET__ON_EXCEED": "warn"}
    done = ask(priced, **limits)
    assert done.returncode == 0, done.stderr
    assert "no room left; going on as you set" in done.stderr
    assert len(wire.billed()) == 1


def test_a_threshold_that_is_named_twice_is_told_once(priced: Program) -> None:
    """And the call that reaches it is in the books."""
    done = ask(
        priced,
        AIGENFLOW_BUDGET__DAILY_USD="0.0001",
        AIGENFLOW_BUDGET__ON_EXCEED="warn",
        AIGENFLOW_BUDGET__THRESHOLDS="[50, 50]",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("50 % of the daily budget") == 1
    assert len(rows(priced)) == 1


def test_every_window_is_told_of_its_own_thresholds(priced: Program) -> None:
    """The day's and the month's, each once, whatever is asked after."""
    limits = {
        "AIGENFLOW_BUDGET__DAILY_USD": "0.0001",
        "AIGENFLOW_BUDGET__MONTHLY_USD": "0.0001",
        "AIGENFLOW_BUDGET__ON_EXCEED": "warn",
        "AIGENFLOW_BUDGET__THRESHOLDS": "[100]",
    }
    told = "".join(ask(priced, f"Question {n}", **limits).stderr for n in range(2))
    assert told.count("100 % of the daily budget") == 1
    assert told.count("100 % of the monthly budget") == 1


def test_a_day_is_one_of_the_users_calendar(priced: Program) -> None:
    """What was spent on a day in the east is not of the day that it is in the west."""
    assert ask(priced, AIGENFLOW_BUDGET__TIMEZONE=EAST).returncode == 0

    def spent(zone: str) -> Decimal:
        env = {"AIGENFLOW_BUDGET__TIMEZONE": zone, "AIGENFLOW_BUDGET__DAILY_USD": "5"}
        shown = json.loads(priced("budget", "show", "--json", env=env).stdout)
        return Decimal(shown["budgets"][0]["spent_usd"])

    assert spent(EAST) > 0
    assert spent(WEST) == 0


def test_a_call_without_a_price_is_made_with_leave_and_stays_unknown(
    priced: Program, wire: Wire
) -> None:
    """Refused without it; with it, no sum takes the call for free."""
    here = "0.0.0.0"  # leads to this machine, and is not known to be it
    unknown = {
        "AIGENFLOW_AGENTS__CHATGPT__BACKEND": "compatible",
        "AIGENFLOW_AGENTS__CHATGPT__MODEL": "somebodys-own-model",
        "AIGENFLOW_AGENTS__CHATGPT__BASE_URL": f"{wire.url}/compatible/v1".replace(
            "127.0.0.1", here
        ),
        "AIGENFLOW_NETWORK__TRUSTED_HOSTS": json.dumps([here]),
        "OPENAI_API_KEY": "sk-of-a-test",
    }
    refused = ask(priced, **unknown)
    assert refused.returncode == 2
    assert "is not known" in refused.stderr
    assert wire.bill() == []
    done = ask(priced, "Hello there", "--allow-unpriced", "--json", **unknown)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["estimated_cost"] is None
    told = json.loads(priced("stats", "--json").stdout)["total"]
    assert (told["unpriced_calls"], told["billed_usd"]) == (1, None)
