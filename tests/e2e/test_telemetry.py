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
KEY = "sk-CANARY-9f8e7d6c5b4a"
KEYS = {
    name: KEY
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "PERPLEXITY_API_KEY")
}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def told(program: Program, collector: Collector) -> Program:
    """The program with telemetry switched on, sent to ``collector``."""
    program.environ |= {
        **KEYS,
        "AIGENFLOW_TELEMETRY__OTEL_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }
    return program


def calls(collector: Collector) -> list[Arrived]:
    """The spans of attempts at a provider."""
    return [span for span in collector.spans() if span.name.startswith("chat ")]


def test_a_run_is_one_trace_down_to_every_call(
    told: Program, wire: Wire, collector: Collector
) -> None:
    """Each call on the server's bill is a span, inside its task, phase and run, with its tokens."""
    done = told("run", "--topic", TOPIC)
    assert done.returncode == 0, done.stderr
    spans = collector.spans()
    found = {span.id: span for span in spans}
    assert len({span.trace for span in spans}) == 1
    assert len(calls(collector)) == len(wire.billed()) == 12
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


def test_no_prompt_no_answer_and_no_key_leaves(
    told: Program, wire: Wire, collector: Collector
) -> None:
    """What a person or a model wrote, and the keys, are in nothing that was sent."""
    wire.script(rules=[{"match": {"times": 4}, "action": {"text": "# Findings\n\nCANARY-ANSWER"}}])
    done = told("run", "--topic", TOPIC)
    assert done.returncode == 0, done.stderr
    assert collector.bodies
    for _path, body in collector.bodies:
        for secret in (TOPIC, "CANARY-ANSWER", KEY, KEY[:8], "You are"):
            assert secret.encode() not in body


def test_texts_are_sent_when_asked_for(told: Program, collector: Collector) -> None:
    """capture_content puts the question and the answer on the span; still no key."""
    asked = {"AIGENFLOW_TELEMETRY__CAPTURE_CONTENT": "true"}
    done = told("ask", "What is a CANARY-QUESTION?", "--agent", "claude", env=asked)
    assert done.returncode == 0, done.stderr
    [call] = calls(collector)
    assert "CANARY-QUESTION" in str(call.attributes["gen_ai.input.messages"])
    assert done.stdout.split()[0] in str(call.attributes["gen_ai.output.messages"])
    assert all(KEY.encode() not in body for _path, body in collector.bodies)


def test_metrics_add_up_to_the_bill(told: Program, wire: Wire, collector: Collector) -> None:
    """Tokens, dollars, hits and misses over two runs on one topic, the second from the cache."""
    for _n in range(2):
        assert told("run", "--topic", TOPIC).returncode == 0
        time.sleep(1.1)  # session ids sort by second
    tokens = collector.sums("gen_ai.client.token.usage", "gen_ai.token.type")
    billed = wire.billed()
    assert tokens == {
        "input": sum(entry["input_tokens"] for entry in billed),
        "output": sum(entry["output_tokens"] for entry in billed),
    }
    lookups = collector.sums("aigenflow.cache.lookups", "aigenflow.cache.result")
    assert lookups == {"miss": 12, "hit": 12}
    [cost] = collector.sums("aigenflow.cost", "aigenflow.served_from").values()
    assert cost == pytest.approx(sum(row["billed_nano"] for row in rows(told)) / 1e9)


def test_a_retry_is_a_span_of_its_own(told: Program, wire: Wire, collector: Collector) -> None:
    """The failed attempt and the one that followed stand side by side inside the question."""
    wire.script(rules=[{"match": {"nth": 1}, "action": {"status": 529}}])
    assert told("ask", "Hello there", "--agent", "claude").returncode == 0
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


def test_a_collector_that_is_down_changes_nothing_else(told: Program) -> None:
    """The document is there; one note at the end says that spans were lost."""
    down = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    done = told("run", "--topic", TOPIC, env=down)
    assert done.returncode == 0, done.stderr
    assert told.document()
    assert done.stderr.count("127.0.0.1") == done.stderr.count("could not all be sent") == 1


def test_the_textfile_has_the_sums_of_the_bill(
    program: Program, wire: Wire, tmp_path: Path
) -> None:
    """Tokens by provider as on the server's bill, dollars as in the ledger, hits as they were."""
    path = tmp_path / "metrics" / "aigenflow.prom"
    program.environ["AIGENFLOW_TELEMETRY__PROMETHEUS_TEXTFILE"] = str(path)
    for _n in range(2):
        assert program("run", "--topic", TOPIC).returncode == 0
        time.sleep(1.1)  # session ids sort by second
    found = samples(path.read_text())
    agents = {
        "anthropic": "claude",
        "openai": "chatgpt",
        "gemini": "gemini",
        "perplexity": "perplexity",
    }
    for backend, agent in agents.items():
        billed = [entry for entry in wire.billed() if entry["provider"] == backend]
        for kind in ("input_tokens", "output_tokens"):
            total = found[f"aigenflow_{kind}_total", agent, ""]
            assert total == sum(entry[kind] for entry in billed)
        assert found["aigenflow_calls_total", agent, ""] == len(billed)
        assert found["aigenflow_cache_hits_total", agent, ""] == len(billed)
        nano = sum(row["billed_nano"] for row in rows(program) if row["provider"] == agent)
        assert found["aigenflow_cost_usd_total", agent, ""] * 10**9 == nano > 0


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
