"""The wire-format server as a process of its own, for tests that kill what talks to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from aigenflow.core.models import Json
from aigenflow.testing.bill import BillLine, read_bill
from aigenflow.testing.wire_script import WireScript, parse_script

STOP_TIMEOUT_S = 10.0


class WireServerProcess:
    """``with WireServerProcess(script, state_dir=folder) as server: server.url``.

    The process ends with the ``with`` block, and also when this process dies. ``text_file`` in
    the script is relative to ``state_dir``. Raises ``ConfigError`` for a script that is wrong and
    ``RuntimeError`` where the process does not start.
    """

    def __init__(
        self,
        script: WireScript | Mapping[str, Json] | None = None,
        *,
        state_dir: Path,
        port: int = 0,
    ) -> None:
        self._script = script if isinstance(script, WireScript) else parse_script(script)
        self._state_dir = state_dir
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def bill(self) -> tuple[BillLine, ...]:
        """The lines so far, read from the file."""
        return read_bill(self._state_dir)

    def start(self) -> None:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        script = self._state_dir / "script.json"
        script.write_text(self._script.model_dump_json(exclude_unset=True), encoding="utf-8")
        options = ("--script", str(script), "--state-dir", str(self._state_dir))
        module = (sys.executable, "-m", "aigenflow.testing.server", "--exit-with-stdin")
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            (*module, "--port", str(self._port), *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the wire server did not start")
        self.url = json.loads(line)["url"]

    def stop(self) -> int:
        """Stop the process and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        process.communicate(timeout=STOP_TIMEOUT_S)
        return process.returncode

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
