"""The wire-format server as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.program import Wire


@contextmanager
def wire_server(state: Path) -> Iterator[Wire]:
    """A server that keeps its bill in the folder ``state``, while the block lasts."""
    command = [sys.executable, "-m", "aigenflow.testing.server", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--state-dir", str(state)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Wire(url=json.loads(process.stdout.readline())["url"])
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
