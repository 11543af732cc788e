"""Somebody who types what a page says, one command after the other, in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from aigenflow.core.config import Settings
from aigenflow.core.models import AgentType
from tests.docs.pages import ROOT, Example, ShownFile, Source
from tests.support.program import clean_environment

NOT_TYPED = {
    "ollama": "needs Ollama on this machine",
    "pip install": "changes what is installed here",
    "sudo": "changes this machine",
    "docker": "needs a container engine",
    "keyring": "needs a keyring that somebody has unlocked",
    "aigenflow config set use_keyring": "needs a keyring that somebody has unlocked",
    "aigenflow batch cancel": "the job of the page is over by then",
    "aigenflow dashboard": "runs until it is stopped: see tests/dashboard",
    "aigenflow worker": "needs PostgreSQL: see tests/e2e/test_fleet.py",
    "aigenflow submit": "needs PostgreSQL: see tests/e2e/test_fleet.py",
    "aigenflow fleet": "needs PostgreSQL: see tests/e2e/test_fleet.py",
}
"""Commands that cannot run here, and why; every other one does."""

DEFAULTS = {
    agent: (Settings().agents.of(agent).backend.value, Settings().agents.of(agent).model)
    for agent in AgentType
}

LOCAL_SERVER = "http://127.0.0.1:8000"
"""Where pages say that somebody's own server is."""

_SESSION = re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b")
_CACHE_KEY = re.compile(r"\b[0-9a-f]{32}\b")
_NUMBER = re.compile(r"\d[\d,.]*")


class Reader:
    """Types commands. Once a page exports a key, the agents are reached at ``wire_url``.

    They are reached through the one SDK that starts fastest, at no price; those in ``at_a_price``
    through their own. A session's id, a cache key or ``JOB`` in a command stands for the newest
    one, and the address of a local server for that of the wire-format server.
    """

    def __init__(
        self, folder: Path, wire_url: str, *, at_a_price: Collection[AgentType] = ()
    ) -> None:
        self._folder = folder
        self._wire_url = wire_url
        self._at_a_price = at_a_price
        self._environ = {**clean_environment(folder), "HOME": str(folder)}
        del self._environ["AIGENFLOW_HOME"]  # pages speak of ~/.aigenflow
        self._environ["PATH"] = f"{Path(sys.executable).parent}:{self._environ['PATH']}"
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        (folder / "docs").symlink_to(ROOT / "docs")
        self._environ["AIGENFLOW_BATCH__MAX_WAIT_SECONDS"] = "0.05"
        self._environ["PYTHONPATH"] = str(ROOT)

    def type(self, example: Example) -> str:
        """What the terminal shows after the command, which must succeed."""
        command = example.command
        if command.startswith("export "):
            return self._export(command)
        if command.startswith("make "):
            return self._run(["make", "--dry-run", *shlex.split(command)[1:]], ROOT)
        if any(command.startswith(name) for name in NOT_TYPED):
            return "\n".join(example.output)
        command = _SESSION.sub(lambda _id: self._newest_session(), command)
        command = _CACHE_KEY.sub(lambda _key: self._newest_key(), command)
        command = re.sub(r"\bJOB\b", lambda _job: self._newest_job(), command)
        if LOCAL_SERVER in command:
            self._environ["AIGENFLOW_LOCAL__DISCOVER"] = "true"
            command = command.replace(LOCAL_SERVER, f"{self._wire_url}/compatible")
        printed = self._run(["bash", "-c", command], self._folder)
        return printed.replace(f"{self._wire_url}/compatible", LOCAL_SERVER)

    def save(self, file: ShownFile) -> None:
        """Put a file where the page says."""
        path = self._folder / file.path.replace("~/", "")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")

    def python(self, source: Source) -> str:
        """What a piece of Python prints."""
        return self._run([sys.executable, "-c", source.text], self._folder)

    def _export(self, command: str) -> str:
        exported = dict(word.split("=", 1) for word in shlex.split(command)[1:])
        exported = {name: value.replace("…", "a-key") for name, value in exported.items()}
        self._environ.update(exported)
        if any(name.endswith("_API_KEY") for name in exported):
            for agent, (backend, _model) in DEFAULTS.items():
                chosen = backend if agent in self._at_a_price else "compatible"
                prefix = f"AIGENFLOW_AGENTS__{agent.name}__"
                self._environ[f"{prefix}BACKEND"] = chosen
                self._environ[f"{prefix}BASE_URL"] = f"{self._wire_url}/{chosen}/v1"
        return ""

    def _newest_session(self) -> str:
        return max(path.parent for path in self._folder.glob("output/*/pipeline_state.json")).name

    def _newest_key(self) -> str:
        rows = json.loads(self._run(["aigenflow", "cache", "list", "--json"], self._folder))
        return str(rows[0]["key"])

    def _newest_job(self) -> str:
        rows = json.loads(
            self._run(["aigenflow", "batch", "list", "--all", "--json"], self._folder)
        )
        return str(rows[0]["job"])

    def _run(self, command: list[str], folder: Path) -> str:
        done = subprocess.run(
            command,
            cwd=folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


def missing_lines(shown: tuple[str, ...], printed: str) -> list[str]:
    """The lines of ``shown`` that do not come in ``printed`` in this order.

    Ids, figures and spacing may differ, and ``…`` stands for any lines.
    """
    left = iter(map(_essence, printed.splitlines()))
    wanted = [line for line in shown if line.strip() not in ("", "…")]
    return [line for line in wanted if _essence(line) not in left]


def _essence(line: str) -> str:
    line = _CACHE_KEY.sub("KEY", _SESSION.sub("SESSION", line))
    return " ".join(re.sub("─+", "─", _NUMBER.sub("N", line)).split())
