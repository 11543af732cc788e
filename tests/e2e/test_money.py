from __future__ import annotations

import json
import signal
import sqlite3
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aigenflow.core.models import DocumentType, Language
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.templates.loader import load_outline
from aigenflow.testing.bill import BillLine
from tests.support.bill import price_of
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
    assert len(ledger) == len(billed) == 13
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
    assert len(hits) == 13
    assert {row["billed_nano"] for row in hits} == {0}


def test_a_budget_is_never_exceeded_and_the_run_can_go_on(program: Program, wire: Wire) -> None:
    """A call whose worst case has no room is not made; with a higher limit the rest is done."""
    cap = {"AIGENFLOW_BUDGET__DAILY_USD": "0.15"}
    done = program("run", "--topic", TOPIC, env=cap)
    assert done.returncode == 3, done.stderr
    assert "daily budget" in done.stderr
    assert "aigenflow resume" in done.stderr
    before = len(wire.billed())
    assert 0 < before < 13
    spent = Decimal(sum(row["billed_nano"] for row in rows(program))).scaleb(-9)
    assert spent <= Decimal("0.15")
    assert rows(program, "reservations") == []
    assert program("resume", program.session().name).returncode == 0
    assert len(wire.billed()) == 13


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


# Money kept for writing and review


def fenced(session_usd: str, percent: str) -> dict[str, str]:
    return {
        "AIGENFLOW_BUDGET__SESSION_USD": session_usd,
        "AIGENFLOW_BUDGET__RING_FENCE_PERCENT": percent,
    }


def test_research_gives_way_so_that_the_document_is_finished(program: Program, wire: Wire) -> None:
    """With 80 % of $0.60 kept, the research does without its search: said, and on the record."""
    done = program("run", "--topic", TOPIC, "--quiet", env=fenced("0.6", "80"))
    assert done.returncode == 0, done.stderr
    assert "deep_search gave up: no web search" in done.stderr
    metadata = program.metadata()
    left_out = {task["task"]: task["left_out"] for task in metadata["tasks"]}
    assert left_out["deep_search"] == ["no web search"]
    assert left_out["verify"] == []
    assert Decimal(metadata["totals"]["cost_usd"]) <= Decimal("0.6")
    bodies = [json.dumps(entry["body"]) for entry in wire.requests()]
    [asked] = [body for body in bodies if "You cannot search the web for this task" in body]
    assert "# Task: wide research" in asked
    assert "google_search" not in asked.replace("googleSearch", "google_search")


def test_research_that_has_no_room_at_all_stops_and_can_go_on(program: Program, wire: Wire) -> None:
    """Where not even the smallest form fits, nothing is bought; with money the session goes on."""
    done = program("run", "--topic", TOPIC, env=fenced("0.1", "90"))
    assert done.returncode == 3, done.stderr
    assert "kept for writing and review" in done.stderr
    assert wire.bill() == []
    resumed = program("resume", program.session().name)
    assert resumed.returncode == 0, resumed.stderr
    assert all(task["left_out"] == [] for task in program.metadata()["tasks"])


# Waste


def wasted(program: Program) -> dict[str, Decimal]:
    """What `aigenflow stats` says was wasted, by reason."""
    told = json.loads(program("stats", "--savings", "--json").stdout)
    return {reason: Decimal(amount) for reason, amount in told["wasted"].items()}


def charged(wire: Wire, provider: str) -> Decimal:
    lines = [BillLine(**entry) for entry in wire.billed()]
    return sum((price_of(line) for line in lines if line.provider == provider), Decimal(0))


def test_pieces_of_an_answer_that_never_ends_are_wasted(program: Program, wire: Wire) -> None:
    """Three pieces are paid for, the fallback answers, and `stats` says what that cost."""
    wire.script(rules=[{"match": {"provider": "anthropic"}, "action": {"finish": "length"}}])
    done = program("ask", "Hello there", "--agent", "claude", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["agent"] == "chatgpt"
    assert [row["waste"] for row in rows(program)] == ["discarded"] * 3 + [""]
    assert wasted(program) == {"discarded": charged(wire, "anthropic")}
    told = program("stats", "--savings").stdout
    assert "Wasted on answers that could not be used" in told


def test_an_answer_asked_for_again_and_a_failed_question_are_wasted(
    program: Program, wire: Wire
) -> None:
    """An empty answer is asked for again; where nobody finishes, all of it was for nothing."""
    wire.script(
        rules=[
            {"match": {"nth": 1}, "action": {"fault": "only_thinking"}},
            {"match": {"provider": "anthropic"}, "action": {"finish": "length"}},
            {"match": {"provider": "openai"}, "action": {"finish": "length"}},
        ]
    )
    done = program("ask", "Hello there", "--agent", "claude")
    assert done.returncode == 4, done.stderr
    assert [row["waste"] for row in rows(program)] == ["retry"] + ["failed_phase"] * 6
    everything = charged(wire, "anthropic") + charged(wire, "openai")
    assert sum(wasted(program).values()) == everything
    told = program("stats", "--savings").stdout
    assert "Wasted on calls that were made again" in told
    assert "Wasted on phases that failed" in told


def test_a_polished_text_that_is_thrown_away_is_wasted(program: Program, wire: Wire) -> None:
    """Where polishing lost the sections of the draft, the draft is the document."""
    outline = load_outline(DocumentType.BIZPLAN, "default", Language.EN)
    draft = "".join(f"## {section.heading}\n\nText.\n\n" for section in outline.sections)
    wire.script(
        rules=[
            {"match": {"contains": "# Task: write the document"}, "action": {"text": draft}},
            {"match": {"contains": "# Task: the final document"}, "action": {"text": "Short."}},
        ]
    )
    done = program("run", "--topic", TOPIC, env={"AIGENFLOW_QUALITY__MAX_ROUNDS": "0"})
    assert done.returncode == 0, done.stderr
    assert any("so the draft is used" in notice for notice in program.metadata()["notices"])
    ledger = rows(program)
    [polish] = [row for row in ledger if row["task"] == "polish"]
    assert {row["task"] for row in ledger if row["waste"]} == {"polish"}
    assert wasted(program) == {"discarded": Decimal(polish["billed_nano"]).scaleb(-9)}


# Money that nobody answers for


def test_a_killed_calls_money_is_listed_and_can_be_closed(program: Program, wire: Wire) -> None:
    """It stays reserved until someone says what was billed; a batch job's waits for its job."""
    cap = {"AIGENFLOW_BUDGET__DAILY_USD": "5"}
    wire.script(rules=[{"action": {"latency_s": 60}}])
    process = program.start("ask", "Hello there", "--agent", "claude", env=cap)
    for _n in range(1500):
        if wire.requests():
            break
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=20)

    def listed() -> list[dict[str, Any]]:
        return list(json.loads(program("budget", "reservations", "--json").stdout))

    [held] = listed()
    assert (held["state"], held["provider"], held["job"]) == ("orphaned", "claude", None)
    shown = json.loads(program("budget", "show", "--json", env=cap).stdout)["budgets"][0]
    assert Decimal(shown["reserved_usd"]) == Decimal(held["amount_usd"]) > 0
    tracker = TokenTracker.open(f"sqlite:///{program.environ['AIGENFLOW_HOME']}/ledger.db")
    tracker.hand_over(held["id"], "batch_42")
    tracker.close()
    [of_job] = listed()
    assert (of_job["state"], of_job["job"]) == ("job", "batch_42")
    refused = program("budget", "reconcile", held["id"][:8])
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    closed = program("budget", "reconcile", held["id"][:8], "--billed", "0.0123", "--yes")
    assert closed.returncode == 0, closed.stderr
    assert listed() == []
    assert wasted(program) == {"lost": Decimal("0.0123")}
