"""Without any key, an OpenAI-compatible server on this machine writes, as Ollama would."""

from __future__ import annotations

import json

import pytest

from tests.support.program import Program, Wire


@pytest.fixture
def local(offline: Program, wire: Wire) -> Program:
    """No key, and a server where the settings look for one."""
    offline.environ["AIGENFLOW_LOCAL__DISCOVER"] = "true"
    offline.environ["AIGENFLOW_LOCAL__BASE_URL"] = f"{wire.url}/compatible/v1"
    return offline


def test_every_document_of_a_list_is_written_by_it(local: Program, wire: Wire) -> None:
    """Also those that begin while the first still looks for the server."""
    wire.script(defaults={"latency_s": 0.05})
    topics = ["Meal kits for cats", "Meal kits for dogs", "Meal kits for owls"]
    (local.folder / "topics.txt").write_text("\n".join(topics))
    done = local("run", "--topics", "topics.txt", "--quiet")
    assert done.returncode == 0, done.stderr
    for index in range(len(topics)):
        metadata = json.loads((local.session(index) / "metadata.json").read_text())
        assert metadata["ai_written"] is True
        assert {role["backend"] for role in metadata["roles"].values()} == {"compatible"}
    assert "All roles are played by" in local("check").stdout


def test_where_nothing_listens_the_drafter_writes(local: Program) -> None:
    """And says so; a server that is not there is no error."""
    nowhere = {"AIGENFLOW_LOCAL__BASE_URL": "http://127.0.0.1:9/v1"}
    done = local("run", "--topic", "Meal kits for cats", env=nowhere)
    assert done.returncode == 0, done.stderr
    assert "No AI wrote it" in done.stderr
