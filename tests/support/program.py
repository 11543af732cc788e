"""The program as a user runs it: a separate process, real SDKs, a server with its own bill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENTS = ("CLAUDE", "CHATGPT", "GEMINI", "PERPLEXITY")
FAST = {
    "AIGENFLOW_RETRY__BASE_SECONDS": "0.01",
    "AIGENFLOW_RETRY__CAP_SECONDS": "0.05",
    "AIGENFLOW_TIMEOUTS__FIRST_EVENT_SECONDS": "10",
    "AIGENFLOW_TIMEOUTS__IDLE_SECONDS": "5",
    "AIGENFLOW_LOCAL__DISCOVER": "false",
}


@dataclass(frozen=True, kw_only=True)
class Wire:
    """The wire-format server of a test."""

    url: str

    def script(self, **script: Any) -> None:
        """Replace what the server answers."""
        self._call("/_script", script)

    def reset(self) -> None:
        """Forget every request and every rule."""
        self.script()
        self._call("/_reset", {})

    def bill(self) -> list[dict[str, Any]]:
        """One entry per request that arrived, in order."""
        entries = self._call("/_bill")
        return entries if isinstance(entries, list) else list(entries["entries"])

    def billed(self) -> list[dict[str, Any]]:
        """The entries that a provider would charge for."""
        return [entry for entry in self.bill() if entry["billed"]]

    def requests(self) -> list[dict[str, Any]]:
        """The bodies and headers as received."""
        entries = self._call("/_requests")
        return entries if isinstance(entries, list) else list(entries["requests"])

    def _call(self, path: str, value: Any = None) -> Any:
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(
            self.url + path, data=data, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or b"null")


class Program:
    """``aigenflow`` in a folder of its own."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = dict(environ)

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env={**self.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start and leave running."""
        return subprocess.Popen(
            self._command(arguments),
            cwd=self.folder,
            env={**self.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def session(self, index: int = 0) -> Path:
        """The folder of a session, oldest first."""
        return sorted((self.folder / "output").glob("*/pipeline_state.json"))[index].parent

    def metadata(self) -> dict[str, Any]:
        """``metadata.json`` of the newest session."""
        value: dict[str, Any] = json.loads((self.session(-1) / "metadata.json").read_text())
        return value

    def document(self) -> str:
        """The finished document of the newest session."""
        final = self.session(-1) / "final"
        names = ("business_plan.md", "rd_proposal.md")
        return next(final / name for name in names if (final / name).exists()).read_text()

    @staticmethod
    def _command(arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "aigenflow", *arguments]


def through_one_sdk(url: str) -> dict[str, str]:
    """Settings that reach all four agents through one SDK: a fast start for tests of sessions."""
    return {
        name: value
        for agent in AGENTS
        for name, value in (
            (f"AIGENFLOW_AGENTS__{agent}__BACKEND", "compatible"),
            (f"AIGENFLOW_AGENTS__{agent}__BASE_URL", f"{url}/compatible/v1"),
            (f"AIGENFLOW_AGENTS__{agent}__MODEL", f"model-of-{agent.lower()}"),
            (f"AIGENFLOW_AGENTS__{agent}__CONTEXT_WINDOW_TOKENS", "200000"),
        )
    }


def clean_environment(home: Path) -> dict[str, str]:
    """The machine's environment without keys and settings of ours, in English."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIGENFLOW_") and not name.endswith("_API_KEY")
    }
    return {**kept, **FAST, "AIGENFLOW_HOME": str(home), "LC_ALL": "C.UTF-8", "LANGUAGE": "en"}
