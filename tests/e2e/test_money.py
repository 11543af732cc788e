from __future__ import annotations

import json
import signal
import sqlite3
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program, Wire

TOPIC = "Subscription meal kits for people with diabetes"


def rows(program: Program, table: str = "usage") -> list[dict[str, Any]]:
    """The ledger's rows, read without the program."""
    ledger = Path(program.environ["AIGENFLOW_HOME"]) / "ledger.db"
    with sqlite3.connect(ledger) as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return found


def test_the_ledger_has_what_the_provider_billed(program: Program, wire: Wire) -> None:
    """One row per call, token by token as on the server's bill, and the document's exact cost."""
    done = program("run", "--topic", TOPIC)
    assert done.returncode == 0, done.stderr
    billed = wire.billed()
    ledger = rows(program)
    assert len(ledger) == len(billed) == 12
    for kind in ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens"):
        assert sum(row[kind] for row in ledger) == sum(entry[kind] for entry in billed), kind
    spent = Decimal(sum(row["billed_nano"] for row in ledger)).scaleb(-9)
    assert Decimal(program.metadata()["totals"]["cost_usd"]) == spent > 0
    assert rows(program, "reservations") == []


def test_a_hit_is_billed_nothing_and_says_what_it_avoided(program: Program, wire: Wire) -> None:
    """The second run costs nothing; what it saved is what the first one cost."""
    program("run", "--topic", TOPIC)
    cost = Decimal(program.metadata()["totals"]["cost_usd"])
    time.sleep(1.1)  # session ids sort by second
    program("run", "--topic", TOPIC)
    totals = program.metadata()["totals"]
    assert Decimal(totals["cost_usd"]) == 0
    assert Decimal(totals["cost_avoided_usd"]) == cost
    hits = [row for row in rows(program) if row["served_from"] == "cache"]
    assert len(hits) == 12
    assert {row["billed_nano"] for row in hits} == {0}


def test_a_budget_is_never_exceeded_and_the_run_can_go_on(program: Program, wire: Wire) -> None:
    """A call whose worst case has no room is not made; with a higher limit the rest is done."""
    cap = {"AIGENFLOW_BUDGET__DAILY_USD": "0.15"}
    done = program("run", "--topic", TOPIC, env=cap)
    assert done.returncode == 3, done.stderr
    assert "daily budget" in done.stderr
    assert "aigenflow resume" in done.stderr
    before = len(wire.billed())
    assert 0 < before < 12
    spent = Decimal(sum(row["billed_nano"] for row in rows(program))).scaleb(-9)
    assert spent <= Decimal("0.15")
    assert rows(program, "reservations") == []
    assert program("resume", program.session().name).returncode == 0
    assert len(wire.billed()) == 12


def test_thresholds_are_told_once(program: Program) -> None:
    """50 % of the budget is announced when it is reached, and not again."""
    cap = {"AIGENFLOW_BUDGET__DAILY_USD": "0.5", "AIGENFLOW_BUDGET__ON_EXCEED": "warn"}
    spent = []
    for n in range(8):
        done = program("run", "--topic", f"{TOPIC}, no. {n}", env=cap)
        assert done.returncode == 0, done.stderr
        spent.append(done.stderr)
        if "100 % of the daily budget" in done.stderr:
            break
    everything = "".join(spent)
    for threshold in (50, 75, 90, 100):
        assert everything.count(f"{threshold} % of the daily budget") == 1


def test_an_unknown_price_is_refused_unless_allowed(offline: Program, wire: Wire) -> None:
    """Unknown is never taken for free. A host that is not this machine has no price by rule."""
    env = {
        "AIGENFLOW_AGENTS__CLAUDE__BACKEND": "compatible",
        "AIGENFLOW_AGENTS__CLAUDE__BASE_URL": wire.url.replace("127.0.0.1", "here.localtest")
        + "/compatible/v1",
        "AIGENFLOW_AGENTS__CLAUDE__MODEL": "local-model",
    }
    refused = offline("ask", "Hello there", "--trust-base-url", "here.localtest", env=env)
    assert refused.returncode == 2, refused.stderr
    assert "price of the model local-model is not known" in refused.stderr
    assert "--allow-unpriced" in refused.stderr
    assert wire.bill() == []


def test_without_monitoring_there_is_no_ledger_and_the_same_document(
    program: Program, wire: Wire
) -> None:
    """Switched off means no rows, a warning that budgets are off, and nothing else."""
    off = {"AIGENFLOW_FEATURES__MONITORING_ENABLED": "false", "AIGENFLOW_BUDGET__DAILY_USD": "1"}
    done = program("run", "--topic", TOPIC, "--no-cache", env=off)
    assert done.returncode == 0, done.stderr
    assert "budgets are off" in done.stderr
    without = program.document()
    assert not (Path(program.environ["AIGENFLOW_HOME"]) / "ledger.db").exists()
    time.sleep(1.1)  # session ids sort by second
    assert program("run", "--topic", TOPIC, "--no-cache").returncode == 0
    assert program.document() == without


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_call_cut_short_stays_on_the_books(program: Program, wire: Wire, number: int) -> None:
    """Ctrl-C books what may be billed as lost; a killed process leaves its reservation listed."""
    wire.script(rules=[{"match": {"nth": 3}, "action": {"latency_s": 60}}])
    process = program.start("run", "--topic", TOPIC)
    for _n in range(1500):
        if len(wire.requests()) >= 4:
            break
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(number)
    process.communicate(timeout=20)
    lost = [row for row in rows(program) if row["waste"]]
    held = rows(program, "reservations")
    if number == signal.SIGINT:
        assert len(lost) == 1
        assert held == []
    else:
        assert lost == []
        assert len(held) == 1


def test_a_failed_attempt_that_was_billed_is_on_the_books(program: Program, wire: Wire) -> None:
    """An empty answer costs money: it is a row of its own, marked as waste."""
    wire.script(rules=[{"match": {"nth": 1}, "action": {"fault": "only_thinking"}}])
    done = program("ask", "Hello there", "--agent", "claude", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["success"] is True
    ledger = rows(program)
    assert [bool(row["waste"]) for row in ledger] == [True, False]
    assert sum(row["output_tokens"] for row in ledger) == sum(
        entry["output_tokens"] for entry in wire.billed()
    )
