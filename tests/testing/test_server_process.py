"""The wire-format server as a process: it starts, it stops cleanly, its bill outlives clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from aigenflow.testing.process import WireServerProcess

BODY = {"model": "llama", "messages": [{"role": "user", "content": "Name a risk."}]}
COMMAND = [sys.executable, "-m", "aigenflow.testing.server"]
CLIENT = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1] + "/v1/chat/completions", sys.argv[2].encode())
response = urllib.request.urlopen(request)
print(response.read(1), flush=True)
response.read()
"""


def ask(url: str) -> Any:
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(BODY).encode())
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [*COMMAND, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def finish(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=10)
    return process.returncode


def test_sigterm_stops_it_cleanly(tmp_path: Path) -> None:
    """The process answers, is told to stop, and ends with code 0."""
    script = tmp_path / "script.yaml"
    (tmp_path / "answer.md").write_text("Scripted 답.", encoding="utf-8")
    script.write_text("rules: [{action: {text_file: answer.md}}]", encoding="utf-8")
    process, url = start("--script", str(script))
    assert ask(url)["choices"][0]["message"]["content"] == "Scripted 답."
    process.terminate()
    assert finish(process) == 0


def test_it_ends_with_its_standard_input() -> None:
    """A server started with ``--exit-with-stdin`` does not outlive whoever holds the pipe."""
    process, _ = start("--exit-with-stdin")
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    assert finish(process) == 0


def test_a_wrong_script_is_an_exit_code_and_a_sentence(tmp_path: Path) -> None:
    """The message names the file, the place and the problem."""
    script = tmp_path / "script.yaml"
    script.write_text("rules: 3", encoding="utf-8")
    result = subprocess.run([*COMMAND, "--script", str(script)], capture_output=True, text=True)
    assert result.returncode == 2
    assert "script.yaml is wrong at rules" in result.stderr


def test_the_bill_survives_the_kill_of_a_client(tmp_path: Path) -> None:
    """A client killed in the middle of its stream leaves a line with what it had received."""
    pace = {"defaults": {"tokens_per_s": 20, "chunks": 100}}
    with WireServerProcess(pace, state_dir=tmp_path) as server:
        body = json.dumps(BODY | {"stream": True})
        client = subprocess.Popen([sys.executable, "-c", CLIENT, server.url, body], stdout=-1)
        assert client.stdout is not None
        client.stdout.readline()
        time.sleep(0.3)
        client.kill()
        client.communicate()
        deadline = time.monotonic() + 5
        while not server.bill and time.monotonic() < deadline:
            time.sleep(0.02)
        (line,) = server.bill
        assert (line.outcome, line.billed) == ("client_gone", True)
        assert 0 < line.output_tokens < 65
        ask_again: dict[str, Any] = {"messages": []}
        request = urllib.request.Request(
            f"{server.url}/v1/chat/completions", json.dumps(ask_again).encode()
        )
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            urllib.request.urlopen(request, timeout=10)
        refused.value.close()
    assert [line.billed for line in server.bill] == [True, False]


def test_the_line_is_there_before_the_client_has_its_answer(tmp_path: Path) -> None:
    """Whoever has read an answer to its end finds it on the bill."""
    with WireServerProcess(state_dir=tmp_path) as server:
        for number in range(1, 21):
            ask(server.url)
            assert len(server.bill) == number


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed takes its server along."""
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from aigenflow.testing.process import WireServerProcess\n"
        "server = WireServerProcess(state_dir=Path(sys.argv[1])); server.start()\n"
        "print(server.url, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=os.environ
    )
    url = parent.stdout.strip()
    deadline = time.monotonic() + 5
    alive = True
    while alive and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/_health", timeout=1):
                time.sleep(0.02)
        except OSError:
            alive = False
    assert not alive
