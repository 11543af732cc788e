"""Without a network, a document is written all the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.program import Program, clean_environment


def test_a_draft_needs_no_network(tmp_path: Path) -> None:
    """In a network namespace of its own, which has not even a loopback."""
    program = Program(tmp_path, clean_environment(tmp_path / "home"))
    command = [
        *("unshare", "--net", "--map-root-user"),
        *Program._command(["run", "--topic", "Subscription meal kits", "--quiet"]),
    ]
    environ = {**program.environ, "AIGENFLOW_LOCAL__DISCOVER": "true"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    if "unshare" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.returncode == 0, done.stderr
    assert "Subscription meal kits" in program.document()
