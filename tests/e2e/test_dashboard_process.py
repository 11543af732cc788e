"""The dashboard as a process: what it starts, what it says at its end, and what it keeps secret."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("starlette")

from tests.support.program import Program, Wire
from tests.support.visitor import Visitor, launch_address

TOPIC = "Solar-powered ice cream carts"


@contextmanager
def _dashboard(program: Program, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = program.start("dashboard", "--no-browser", *options)
    try:
        yield process, launch_address(process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


def test_a_double_click_buys_one_document(quick: Program, wire: Wire) -> None:
    """The form of a quotation starts one run, however often it is sent."""
    with _dashboard(quick) as (_process, url):
        visitor = Visitor(url)
        quote = visitor.post("/plan", topic=TOPIC)
        assert wire.bill() == []
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', quote.text))
        begun = {visitor.post("/runs", **fields).headers["location"] for _click in range(3)}
        assert len(begun) == 1
        visitor.until(begun.pop(), lambda page: "<iframe" in page.text)
    assert len(list((quick.folder / "output").glob("*/pipeline_state.json"))) == 1
    assert len(wire.billed()) == len(quick.metadata()["tasks"])


def test_its_end_says_how_to_go_on_and_no_secret(quick: Program, wire: Wire) -> None:
    """Where the sessions are elsewhere, the command names the folder; it works as it is printed."""
    wire.script(rules=[{"match": {"nth": nth}, "action": {"latency_s": 60}} for nth in (3, 4)])
    quick.environ["AIGENFLOW_TIMEOUTS__FIRST_EVENT_SECONDS"] = "90"
    with _dashboard(quick, "--output-dir", "my plans") as (process, url):
        visitor = Visitor(url)
        run = visitor.post("/runs", topic=TOPIC).headers["location"]
        visitor.until(run, lambda page: "2 of 13 answers" in page.words)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=20)
    token = url.partition("#")[2]
    assert token not in out + told
    assert "Traceback" not in told
    name = run.rpartition("/")[2]
    assert f"Go on with: aigenflow resume {name} --output-dir 'my plans'" in told
    wire.script()
    done = quick("resume", name, "--output-dir", "my plans", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["session"] == name
