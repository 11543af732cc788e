"""Telemetry through the command line: what leaves the machine, and what does not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_money import rows
from tests.monitoring.test_textfile import samples
from tests.support.collector import Arrived, Collector, collecting
from tests.support.program import Program, Wire

TOPIC = "Subscription meal kits for people with diabetes"
AGENTS = {
    "anthropic": "claude",
    "openai": "chatgpt",
    "gemini": "gemini",
    "perplexity": "perplexity",
}
KEY = "sk-CANARY-9f8e7d6c5b4a"
KEYS = {f"{vendor}_API_KEY": KEY for vendor in ("ANTHROPIC", "OPENAI", "GEMINI", "PERPLEXITY")}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def switch_on(program: Program, collector: Collector) -> Program:
    """``program`` with keys, and with telemetry sent to ``collector``."""
    program.environ |= {
        **KEYS,
        "AIGENFLOW_TELEMETRY__OTEL_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }
    return program


@pytest.fixture
def told(program: Program, collector: Collector) -> Program:
    """Telemetry on, through the four SDKs."""
    return switch_on(program, collector)


@pytest.fixture
def quickly_told(quick: Program, collector: Collector) -> Program:
    """Telemetry on, through the SDK that starts fastest."""
    return switch_on(quick, collector)


def calls(collector: Collector) -> list[Arrived]:
    """The spans of attempts at a provider."""
    return [span for span in collector.spans() if span.name.startswith("chat ")]


def test_a_run_is_one_trace_down_to_every_call_and_no_text_is_in_it(
    told: Program, wire: Wire, collector: Collector
) -> None:
    """Each call on the server's bill is a span inside its task, phase and run; words stay here."""
    wire.script(rules=[{"match": {"times": 3}, "action": {"text": "# Findings\n\nCANARY-ANSWER"}}])
    done = told("run", "--topic", TOPIC)
    assert done.returncode == 0, done.stderr
    spans = collector.spans()
    found = {span.id: span for span in spans}
    assert len({span.trace for span in spans}) == 1
    assert len(calls(collector)) == len(wire.billed()) == 13
    for call in calls(collector):
        task = found[call.parent]
        phase = found[task.parent]
        run = found[phase.parent]
        assert task.attributes["aigenflow.task"] == call.attributes["aigenflow.task"]
        assert phase.attributes["aigenflow.phase"] == call.attributes["aigenflow.phase"]
        assert run.attributes["gen_ai.conversation.id"] == told.session().name
    for name in ("input_tokens", "output_tokens"):
        sent = [span.attributes[f"gen_ai.usage.{name}"] for span in calls(collector)]
        assert sorted(sent, key=str) == sorted((e[name] for e in wire.billed()), key=str)
    assert {span.attributes["gen_ai.provider.name"] for span in calls(collector)} == {
        *("anthropic", "openai", "gcp.gemini", "perplexity")
    }
    assert not any(span.error for span in spans)
    for _path, body in collector.bodies:
        for secret in (TOPIC, "CANARY-ANSWER", "# Task", KEY, KEY[:8]):
            assert secret.encode() not in body


def test_texts_are_sent_when_asked_for(quickly_told: Program, collector: Collector) -> None:
    """capture_content puts the question and the answer on the span; still no key."""
    asked = {"AIGENFLOW_TELEMETRY__CAPTURE_CONTENT": "true"}
    done = quickly_told("ask", "What is a CANARY-QUESTION?", "--agent", "claude", env=asked)
    assert done.returncode == 0, done.stderr
    [call] = calls(collector)
    assert "CANARY-QUESTION" in str(call.attributes["gen_ai.input.messages"])
    assert done.stdout.split()[0] in str(call.attributes["gen_ai.output.messages"])
    assert all(KEY.encode() not in body for _path, body in collector.bodies)


def test_metrics_and_textfile_add_up_to_the_bill(
    told: Program, wire: Wire, collector: Collector, tmp_path: Path
) -> None:
    """Tokens, dollars, hits and misses over two runs on one topic, the second from the cache."""
    path = tmp_path / "metrics" / "aigenflow.prom"
    told.environ["AIGENFLOW_TELEMETRY__PROMETHEUS_TEXTFILE"] = str(path)
    for _n in range(2):
        assert told("run", "--topic", TOPIC).returncode == 0
        time.sleep(1.1)  # session ids sort by second
    billed, ledger = wire.billed(), rows(told)
    tokens = collector.sums("gen_ai.client.token.usage", "gen_ai.token.type")
    assert tokens == {
        kind: sum(entry[f"{kind}_tokens"] for entry in billed) for kind in ("input", "output")
    }
    lookups = collector.sums("aigenflow.cache.lookups", "aigenflow.cache.result")
    assert lookups == {"miss": 13, "hit": 13}
    [cost] = collector.sums("aigenflow.cost", "aigenflow.served_from").values()
    assert cost == pytest.approx(sum(row["billed_nano"] for row in ledger) / 1e9)

    found = samples(path.read_text())
    for backend, agent in AGENTS.items():
        calls = [entry for entry in billed if entry["provider"] == backend]
        for kind in ("input_tokens", "output_tokens"):
            total = found[f"aigenflow_{kind}_total", agent, ""]
            assert total == sum(entry[kind] for entry in calls)
        assert found["aigenflow_calls_total", agent, ""] == len(calls) > 0
        assert found["aigenflow_cache_hits_total", agent, ""] == len(calls)
        nano = sum(row["billed_nano"] for row in ledger if row["provider"] == agent)
        assert found["aigenflow_cost_usd_total", agent, ""] * 10**9 == nano > 0


def test_a_retry_is_a_span_of_its_own(
    quickly_told: Program, wire: Wire, collector: Collector
) -> None:
    """The failed attempt and the one that followed stand side by side inside the question."""
    wire.script(rules=[{"match": {"nth": 1}, "action": {"status": 529}}])
    assert quickly_told("ask", "Hello there", "--agent", "claude").returncode == 0
    failed, kept = calls(collector)
    assert (failed.error, kept.error) == (True, False)
    assert failed.attributes["error.type"] == "ServerFaultError"
    assert failed.parent == kept.parent != ""


def test_a_run_that_stops_says_so(told: Program, wire: Wire, collector: Collector) -> None:
    """The spans it was inside of have ended, with the kind of what stopped it."""
    done = told("run", "--topic", TOPIC, env={"AIGENFLOW_BUDGET__DAILY_USD": "0.15"})
    assert done.returncode == 3, done.stderr
    [run] = [span for span in collector.spans() if span.name.startswith("invoke_workflow")]
    assert run.error
    assert run.attributes["error.type"] == "BudgetExceededError"


def test_a_collector_that_is_down_changes_nothing_else(quickly_told: Program) -> None:
    """The document is there; one note at the end says that spans were lost."""
    down = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    done = quickly_told("run", "--topic", TOPIC, env=down)
    assert done.returncode == 0, done.stderr
    assert quickly_told.document()
    [note] = [line for line in done.stderr.splitlines() if "traces" in line or "metrics" in line]
    assert "could not all be sent" in note
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in note


def test_off_nothing_is_imported(offline: Program) -> None:
    """Out of the box a run does not load the SDK, and writes no file for Prometheus."""
    source = (
        "import sys\n"
        "from aigenflow.main import main\n"
        "try:\n    main(['run', '--topic', 'Meal kits for people'])\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])\n"
        "print('aigenflow.monitoring.textfile' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=offline.folder,
        env=offline.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[]", "False"]
