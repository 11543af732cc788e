from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.program import AGENTS, Program, Wire

TOPIC = "Subscription meal kits for people with diabetes"
MEALS = ("kits", "plans", "boxes", "menus")
AFTER_THE_DRAFT = ["executive_summary", "verify", "final_review", "polish"]


def run(program: Program, *more: str, topic: str = TOPIC, **env: str) -> None:
    done = program("run", "--topic", topic, *more, env=env)
    assert done.returncode == 0, done.stderr


def plan(program: Program, *more: str, topic: str = TOPIC, code: int = 0, **env: str) -> Any:
    """The plan as JSON; the exit code is checked."""
    done = program("plan", "--topic", topic, "--json", *more, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def text_plan(program: Program, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    return program("plan", "--topic", TOPIC, *more, env=env)


def tasks_by_supply(planned: Any, supply: str) -> list[str]:
    return [task["task"] for task in planned["tasks"] if task["supply"] == supply]


def change_prompt(program: Program, task: str) -> None:
    prompts = Path(program.environ["AIGENFLOW_HOME"]) / "templates" / "prompts" / "bizplan"
    prompts.mkdir(parents=True, exist_ok=True)
    (prompts / f"{task}.en.md.j2").write_text(
        "{% extends '_base.en.md.j2' %}{% block prompt %}Anew: {{ topic }}{% endblock %}"
    )


def test_a_plan_calls_nobody_and_leaves_no_session(program: Program, wire: Wire) -> None:
    """Before the first run: twelve answers to be bought, each priced, and an untouched server."""
    planned = plan(program)
    assert wire.bill() == []
    assert not (program.folder / "output").exists()
    assert planned["answers"] == {"kept": 0, "cached": 0, "shared": 0, "bought": 13, "offline": 0}
    live, *discounts = planned["totals"]
    assert 0 < Decimal(live["expected"]) < Decimal(live["worst"])
    assert {total["mode"] for total in discounts} == {"flex", "batch"}
    assert all(Decimal(total["expected"]) < Decimal(live["expected"]) for total in discounts)


def test_the_plan_of_a_finished_run_is_free(program: Program, wire: Wire) -> None:
    """All twelve keys are those of the run, through four SDKs; looking counts as no look-up."""
    run(program)
    cost = Decimal(program.metadata()["totals"]["cost_usd"])
    before = program("cache", "stats", "--json").stdout
    planned = plan(program)
    assert planned["answers"]["cached"] == 13
    assert Decimal(planned["totals"][0]["expected"]) == 0
    assert Decimal(planned["totals"][0]["worst"]) == 0
    assert Decimal(planned["saved"]) == cost
    assert program("cache", "stats", "--json").stdout == before
    assert len(wire.bill()) == 13
    assert "13 answers: 13 cached, 0 to be bought." in text_plan(program).stdout


def test_the_run_costs_no_more_than_the_worst_case_of_its_plan(
    program: Program, wire: Wire
) -> None:
    """Task by task, tokens and dollars of the run stay within the plan's limits."""
    planned = {task["task"]: task for task in plan(program)["tasks"]}
    run(program)
    for task in program.metadata()["tasks"]:
        foreseen = planned[task["task"]]
        assert task["input_tokens"] <= foreseen["worst_input_tokens"], task
        assert task["output_tokens"] <= foreseen["max_output_tokens"], task
        assert Decimal(task["cost_usd"]) <= Decimal(foreseen["offers"][0]["worst"]), task
    first = planned["brainstorm"]
    asked = next(task for task in program.metadata()["tasks"] if task["task"] == "brainstorm")
    assert asked["input_tokens"] / 2 < first["input_tokens"] < asked["input_tokens"] * 2


def test_after_a_changed_prompt_the_plan_buys_what_the_run_then_buys(
    quick: Program, wire: Wire
) -> None:
    """A new draft: research and tables stay, all that hears the draft is bought, no more."""
    run(quick)
    change_prompt(quick, "draft")
    planned = plan(quick)
    assert tasks_by_supply(planned, "bought") == ["draft", *AFTER_THE_DRAFT]
    known = {task["task"]: task["key_known"] for task in planned["tasks"]}
    assert known["draft"]
    assert not any(known[task] for task in AFTER_THE_DRAFT)
    assert "4 questions depend on answers that nobody has given yet" in text_plan(quick).stdout
    wire.reset()
    run(quick)
    assert len(wire.billed()) == 5


def test_new_prompts_of_phase_4_leave_phases_1_to_3_cached(quick: Program) -> None:
    """With every prompt of the phase changed, phases 4 and 5 are to be bought."""
    run(quick)
    for task in ("draft", "charts", "executive_summary"):
        change_prompt(quick, task)
    tasks = plan(quick)["tasks"]
    assert {task["phase"] for task in tasks if task["supply"] == "cached"} == {1, 2, 3}
    assert {task["phase"] for task in tasks if task["supply"] == "bought"} == {4, 5}


def test_the_ledger_makes_the_plan_realistic(quick: Program) -> None:
    """After three documents, the tokens of a fourth are foreseen within a fifth."""
    for agent in AGENTS:
        quick.environ[f"AIGENFLOW_AGENTS__{agent}__MODEL"] = "one-model-for-all"
    topics = quick.folder / "topics.txt"
    topics.write_text("".join(f"Subscription meal {kind} for all\n" for kind in MEALS[:3]))
    blind = plan(quick, topic=f"Subscription meal {MEALS[3]} for all")
    assert quick("run", "--topics", str(topics)).returncode == 0
    planned = plan(quick, topic=f"Subscription meal {MEALS[3]} for all")
    run(quick, topic=f"Subscription meal {MEALS[3]} for all")
    totals = quick.metadata()["totals"]
    for kind in ("input_tokens", "output_tokens"):
        expected = sum(task[kind] for task in planned["tasks"])
        assert totals[kind] / 1.2 <= expected <= totals[kind] * 1.2, kind
        assert sum(task[kind] for task in blind["tasks"]) > expected


def test_what_would_not_be_looked_up_is_not_planned_as_cached(quick: Program) -> None:
    """With --refresh or without the cache everything is bought again."""
    run(quick)
    assert plan(quick)["answers"]["cached"] == 13
    assert plan(quick, "--refresh")["answers"]["bought"] == 13
    assert plan(quick, "--no-cache")["answers"]["bought"] == 13
    assert plan(quick, AIGENFLOW_CACHE__TTL_HOURS="0.0000001")["answers"]["bought"] == 13


def test_results_of_an_earlier_session_are_kept(quick: Program, wire: Wire) -> None:
    """From phase 4 on: phases 1 to 3 are kept; a text edited by hand changes the later keys."""
    run(quick)
    kept = tasks_by_supply(plan(quick, "--from-phase", "4"), "kept")
    assert len(kept) == 7
    assert plan(quick, "--from-phase", "4")["answers"]["cached"] == 6
    (quick.session() / "phase3" / "narrative.md").write_text("We sell to clinics first.")
    edited = plan(quick, "--from-phase", "4")
    assert edited["answers"] == {"kept": 7, "cached": 0, "shared": 0, "bought": 6, "offline": 0}
    wire.reset()
    run(quick, "--from-phase", "4")
    assert len(wire.billed()) == 6


def test_a_plan_over_budget_ends_with_3(program: Program, wire: Wire) -> None:
    """The budget that does not hold the expected cost is named, and what is left of it."""
    cap = {"AIGENFLOW_BUDGET__DAILY_USD": "0.15", "AIGENFLOW_BUDGET__MONTHLY_USD": "100"}
    day, month = plan(program, code=3, **cap)["budgets"]
    assert (day["kind"], day["exceeded"], day["left"]) == ("day", True, "0.15")
    assert (month["kind"], month["exceeded"], month["worst_exceeded"]) == ("month", False, False)
    said = text_plan(program, **cap)
    assert said.returncode == 3
    assert "Over budget: The daily budget" in said.stdout
    assert "has $0.1500 of $0.1500 left" in said.stdout
    assert "the run would stop at" in said.stdout
    assert wire.bill() == []


def test_money_that_is_spent_is_not_left(program: Program) -> None:
    """After a run, the session's budget is whole again and the day's is not."""
    run(program)
    cost = Decimal(program.metadata()["totals"]["cost_usd"])
    day, session = plan(
        program,
        "--refresh",
        AIGENFLOW_BUDGET__DAILY_USD="50",
        AIGENFLOW_BUDGET__SESSION_USD="50",
    )["budgets"]
    assert Decimal(day["left"]) == 50 - cost
    assert (session["kind"], Decimal(session["left"])) == ("session", 50)


def test_a_worst_case_over_budget_is_said_and_allowed(program: Program) -> None:
    """Only what is expected decides the exit code."""
    expected = Decimal(plan(program)["totals"][0]["expected"])
    cap = {"AIGENFLOW_BUDGET__SESSION_USD": str(expected * Decimal("1.5"))}
    planned = plan(program, **cap)
    assert (planned["over_budget"], planned["over_budget_in_worst_case"]) == (False, True)
    assert "enough as expected, not in the worst case" in text_plan(program, **cap).stdout


def test_an_unknown_price_is_shown_and_ends_with_2(program: Program) -> None:
    """As the run would refuse; with leave for unpriced calls the plan is made all the same."""
    far = {
        "AIGENFLOW_AGENTS__GEMINI__BACKEND": "compatible",
        "AIGENFLOW_AGENTS__GEMINI__BASE_URL": "https://models.example.com/v1",
        "AIGENFLOW_AGENTS__GEMINI__MODEL": "house-model-1",
    }
    planned = plan(program, code=2, **far)
    assert planned["unpriced_models"] == ["house-model-1"]
    assert planned["totals"][0]["expected"] is None
    said = text_plan(program, **far)
    assert said.returncode == 2
    assert "unknown" in said.stdout
    assert "the price of house-model-1 is not known" in said.stderr
    assert "--allow-unpriced" in said.stderr
    assert text_plan(program, "--allow-unpriced", **far).returncode == 0


def test_price_cliffs_are_named(program: Program) -> None:
    """Where the longest context would reach a dearer tier, the plan says which tasks."""
    cheap = {"AIGENFLOW_AGENTS__CLAUDE__MODEL": "claude-haiku-5-5"}
    tasks = {task["task"]: task for task in plan(program, **cheap)["tasks"]}
    [cliff] = tasks["polish"]["cliffs"]
    assert cliff == {"above_input_tokens": 100_000, "factor": "5", "expected": False}
    assert tasks["validate"]["cliffs"] == []
    said = text_plan(program, **cheap).stdout
    assert "Price cliff: above 100,000 input tokens" in said
    assert "There in the worst case: final_review, polish." in said


def test_a_local_server_costs_nothing(quick: Program) -> None:
    """On this machine the plan has tokens and times, and no dollars."""
    planned = plan(quick)
    assert planned["answers"]["bought"] == 13
    assert Decimal(planned["totals"][0]["worst"]) == 0
    assert planned["totals"][0]["expected_seconds"] > 0


def test_offline_nothing_is_bought(offline: Program) -> None:
    """Without a key the drafter writes, and the plan says so."""
    assert plan(offline)["answers"]["offline"] == 13
    said = text_plan(offline)
    assert said.returncode == 0
    assert "No AI wrote it" in said.stdout
    assert "depend on answers" not in said.stdout


def test_without_monitoring_there_is_a_plan_and_no_budget(program: Program) -> None:
    """Prices are known all the same; that budgets are off is said."""
    off = {
        "AIGENFLOW_FEATURES__MONITORING_ENABLED": "false",
        "AIGENFLOW_BUDGET__DAILY_USD": "0.01",
    }
    planned = plan(program, **off)
    assert planned["budgets"] == []
    assert Decimal(planned["totals"][0]["expected"]) > 0
    assert any("budgets are off" in notice for notice in planned["notices"])


def test_many_topics_are_quoted_together(program: Program, wire: Wire) -> None:
    """A sum and each document's part; what two of them ask alike is counted once."""
    topics = program.folder / "topics.txt"
    topics.write_text(f"{TOPIC}\nFish farms in the desert\n{TOPIC}\n")
    done = program("plan", "--topics", str(topics), "--json")
    assert done.returncode == 0, done.stderr
    quoted = json.loads(done.stdout)
    first, other, again = quoted["documents"]
    tasks = len(first["tasks"])
    assert [each["answers"]["bought"] for each in quoted["documents"]] == [tasks, tasks, 0]
    assert again["answers"]["shared"] == quoted["answers"]["shared"] == tasks
    parts = [Decimal(each["totals"][0]["expected"]) for each in (first, other)]
    assert Decimal(quoted["totals"][0]["expected"]) == sum(parts)
    assert wire.bill() == []
    done = program("plan", "--topics", str(topics), "--no-cache", "--json")
    assert json.loads(done.stdout)["answers"]["bought"] == 3 * tasks
    text = program("plan", "--topics", str(topics)).stdout
    assert f"3 documents, {3 * tasks} answers: 0 cached, {2 * tasks} to be bought." in text
    assert f"{tasks} answers are bought once for several documents." in text
    assert program("plan", "--topics", str(topics), "--topic", TOPIC).returncode == 2


def test_many_topics_over_budget_end_with_3(program: Program) -> None:
    """Each alone would fit into the daily budget; all together do not."""
    topics = program.folder / "topics.csv"
    topics.write_text(f"topic,lang\n{TOPIC},en\nFish farms in the desert,en\n")
    cap = {"AIGENFLOW_BUDGET__DAILY_USD": "1.5"}
    plan(program, code=0, **cap)
    done = program("plan", "--topics", str(topics), env=cap)
    assert done.returncode == 3, done.stderr
    assert "Over budget: The daily budget" in done.stdout
