"""The dashboard of a fleet over HTTP: what its workers write is seen and steered from a page."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.postgres import NO_SERVER, POSTGRES, own_database
from tests.support.program import Program, Wire
from tests.support.visitor import Reply, Visitor, launch_address

pytestmark = pytest.mark.skipif(not POSTGRES, reason=NO_SERVER)

TOPIC = "Solar-powered ice cream carts"


@pytest.fixture
def fleet(quick: Program) -> Iterator[Program]:
    """The program with a fleet's database of its own."""
    with own_database() as url:
        quick.environ |= {
            "AIGENFLOW_FLEET__DATABASE_URL": url,
            "AIGENFLOW_FLEET__POLL_SECONDS": "0.2",
        }
        yield quick


@contextmanager
def _running(program: Program, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = program.start(*arguments)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def visitor(fleet: Program) -> Iterator[Visitor]:
    with _running(fleet, "dashboard", "--fleet", "--no-browser") as process:
        yield Visitor(launch_address(process))


def _sessions(program: Program) -> list[dict[str, str]]:
    status = json.loads(program("fleet", "status", "--json").stdout)
    found: list[dict[str, str]] = status["sessions"]
    return found


def test_a_fleet_is_seen_and_steered_from_its_pages(
    fleet: Program, visitor: Visitor, wire: Wire
) -> None:
    """A run is submitted, watched, cancelled, resumed and read, and no answer is bought twice."""
    wire.script(defaults={"latency_s": 0.7})
    submitted = visitor.post("/runs", topic=TOPIC)
    assert submitted.status == 303, submitted.words
    run = submitted.headers["location"]
    name = run.rpartition("/")[2]
    assert "0 of 13 answers" in visitor.get(run).words
    assert "which no worker has" in visitor.get("/").words
    assert [each["status"] for each in _sessions(fleet)] == ["waiting"]

    with _running(fleet, "worker"):
        visitor.until(run, lambda reply: re.search(r"\b[2-6] of 13 answers", reply.words))
        listed = visitor.get("/").words
        assert "Under way" in listed
        assert "Worker: " in listed
        assert "which no worker has" not in listed
        assert visitor.post(f"{run}/cancel").status == 303
        assert "cancelled" in visitor.get(run).words
        assert _sessions(fleet)[0]["status"] == "cancelled"
        wire.script()
        assert visitor.post(f"{run}/resume").status == 303
        finished = visitor.until(run, lambda reply: "<iframe" in reply.text)
    answers = len(wire.billed())
    assert answers == len({json.dumps(each, sort_keys=True) for each in _questions(wire)}) == 13

    assert "13 of 13 answers" in finished.words
    assert fleet("fleet", "fetch", name).returncode == 0
    _files_are_those_of(fleet, visitor, finished)
    preview = visitor.get(f"{run}/preview")
    assert "<h1" in preview.text
    assert "sandbox" in preview.headers["content-security-policy"]
    assert visitor.get(f"{run}/tasks/1/brainstorm").status == 200

    counted = re.search(r"Calls (\d+) (\d+) from the cache", visitor.get("/cost").words)
    assert counted is not None
    assert int(counted[1]) - int(counted[2]) == answers
    assert name in visitor.get("/cost?by=session").text
    assert f"Entries {answers} " in visitor.get("/cache").words


def _questions(wire: Wire) -> list[object]:
    return [request.get("body", request) for request in wire.requests()]


def _files_are_those_of(fleet: Program, visitor: Visitor, page: Reply) -> None:
    """Every link leads to the file that ``fleet fetch`` writes; those in folders too."""
    final = fleet.session() / "final"
    links = re.findall(r'href="(/runs/[^"]+/files/([^"]+))"', page.text)
    names = {urllib.parse.unquote(file): link for link, file in links}
    written = {each.relative_to(final).as_posix() for each in final.rglob("*") if each.is_file()}
    assert set(names) == written
    for file, link in names.items():
        assert visitor.get(link).body == (final / file).read_bytes()


def test_what_is_not_there_is_told_in_plain_words(visitor: Visitor) -> None:
    """Unknown sessions, names that no database can hold, and pages beyond the last."""
    for path in ("/runs/nobody", "/runs/nobody/preview", "/runs/%00", "/runs/x/files/%00"):
        refused = visitor.get(path)
        assert refused.status == 404, path
        assert "There is no session" in refused.words
    for order in ("cancel", "resume"):
        assert visitor.post(f"/runs/nobody/{order}").status == 404
    assert "No documents yet" in visitor.get("/?page=9").words
    for path in ("/plan", "/cost", "/cache"):
        assert visitor.get(path).status == 200
