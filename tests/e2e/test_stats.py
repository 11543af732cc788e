"""What `aigenflow stats` tells is what was bought."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from typing import Any

import pytest

from aigenflow.testing.bill import BillLine
from tests.support.bill import price_of
from tests.support.program import Program, Wire

AGENTS = {"openai": "chatgpt", "perplexity": "perplexity"}


@pytest.fixture
def used(offline: Program, wire: Wire) -> Program:
    """The program after two agents were asked, and one of them the same again."""
    for agent in AGENTS.values():
        offline.environ[f"AIGENFLOW_AGENTS__{agent.upper()}__BASE_URL"] = wire.url
    for agent in ("chatgpt", "perplexity", "chatgpt"):
        done = offline("ask", "Hello there", "--agent", agent)
        assert done.returncode == 0, done.stderr
    return offline


def told(program: Program, *options: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(program("stats", "--json", *options).stdout)
    return value


def test_figures_are_those_of_the_providers_bill(used: Program, wire: Wire) -> None:
    """Tokens and dollars per provider and in all; a hit counts as a call and costs nothing."""
    lines = [BillLine(**entry) for entry in wire.billed()]
    value = told(used)
    found = {row["provider"]: row for row in value["rows"]}
    assert set(found) == set(AGENTS.values())
    for line in lines:
        row = found[AGENTS[line.provider]]
        assert row["input_tokens"] == line.input_tokens
        assert row["output_tokens"] == line.output_tokens
        assert Decimal(row["billed_usd"]) == price_of(line) > 0
    total = value["total"]
    assert (total["calls"], total["cache_hits"]) == (3, 1)
    assert Decimal(total["billed_usd"]) == sum(map(price_of, lines))
    assert Decimal(total["response_cache_saving_usd"]) == Decimal(found["chatgpt"]["billed_usd"])


def test_the_panel_and_the_spreadsheet_have_the_same_figures(used: Program) -> None:
    """A row per provider and a total, with the share of the budget that is used."""
    value = told(used)
    env = {"AIGENFLOW_BUDGET__DAILY_USD": "1"}
    panel = used("stats", env=env).stdout
    assert "Token Usage Summary" in panel
    assert "Session: all" in panel
    assert "Daily budget" in panel
    assert "% used" in panel
    for row in (*value["rows"], value["total"]):
        [line] = [
            text for text in panel.splitlines() if f"│ {row.get('provider', 'Total')} " in text
        ]
        cells = line.strip("│ ").split()
        calls, hits, given, got, cost = cells[-5:]
        assert (int(calls), int(hits)) == (row["calls"], row["cache_hits"])
        assert int(given.replace(",", "")) == row["input_tokens"]
        assert int(got.replace(",", "")) == row["output_tokens"]
        assert Decimal(cost.lstrip("$")) == Decimal(row["billed_usd"])
    sheet = list(csv.DictReader(used("stats", "--csv").stdout.splitlines()))
    assert {row["provider"]: row["billed_usd"] for row in sheet} == {
        row["provider"]: row["billed_usd"] for row in value["rows"]
    }


def test_a_week_is_drawn_day_by_day(used: Program) -> None:
    """Today has the longest bar, and the days add up to the total."""
    value = told(used, "--period", "weekly")
    days = [Decimal(bar["billed_usd"]) for bar in value["trend"]]
    assert sum(days) == Decimal(value["total"]["billed_usd"]) == days[-1]
    drawn = used("stats", "--period", "weekly").stdout
    [today] = [
        line for line in drawn.splitlines() if value["trend"][-1]["day"] in line and "█" in line
    ]
    assert "█" * 40 in today
