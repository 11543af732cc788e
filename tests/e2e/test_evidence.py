from __future__ import annotations

import csv
import io
import json
import re

import pytest

from tests.support.program import Program, Wire, clean_environment

TOPIC = "Subscription meal kits at $30 a month"
DOCUMENT = """\
# Plan

## Market

Our own share is 98.7% [#1].
See [the press](https://evil.example/x), ![chart](https://evil.example/p.png) and
<script>alert(1)</script><https://evil.example/y>.

## Price

It is $30 a month. We aim at 1,200 clinics [target]. =cmd costs 7 dollars.
"""
AUDIT = """\
## Claims

| No. | Section | Claim (verbatim, shortened) | Verdict | Source | Correction |
| --- | --- | --- | --- | --- | --- |
| 1 | Market | Our own share is 98.7% | refuted | [1] | Our own share is 9%. |
| 2 | Price | It is $30 a month | confirmed | | |
"""


@pytest.fixture(scope="module")
def heard() -> list[str]:
    """The requests of the one run of this module, as JSON texts, filled in by ``written``."""
    return []


@pytest.fixture(scope="module")
def written(
    wire_process: str, heard: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Program:
    """A finished session whose research came from a provider that quotes its sources."""
    folder = tmp_path_factory.mktemp("work")
    program = Program(folder, clean_environment(tmp_path_factory.mktemp("home") / "home"))
    program.environ["AIGENFLOW_AGENTS__PERPLEXITY__BASE_URL"] = wire_process
    wire = Wire(url=wire_process)
    wire.reset()
    wire.script(
        rules=[
            {"match": {"contains": "# Task: the final document"}, "action": {"text": DOCUMENT}},
            {"match": {"contains": "# Task: verify the document"}, "action": {"text": AUDIT}},
        ]
    )
    done = program("run", "--topic", TOPIC, "--quiet")
    assert done.returncode == 0, done.stderr
    heard += [json.dumps(request["body"], ensure_ascii=False) for request in wire.requests()]
    return program


def claims(program: Program, *arguments: str) -> list[dict[str, str]]:
    done = program("claims", program.session(-1).name, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_what_the_agents_found_is_kept_and_heard(written: Program, heard: list[str]) -> None:
    """One record per source, with its figures; later agents hear the same records as data."""
    lines = (written.session() / "evidence.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["number"] for record in records] == list(range(1, len(records) + 1))
    first = records[0]
    assert first["id"] == "e1"
    assert first["agent"] == "perplexity"
    assert first["tasks"][0].startswith("phase1.")
    share = re.search(r"(\d+) percent", first["quote"])
    assert share
    assert share[0] in first["numbers"]
    assert any("kind=sources" in body and first["url"] in body for body in heard[1:])


def test_every_figure_of_the_document_is_traced(written: Program) -> None:
    """``facts.yaml`` says where each comes from; a planted one comes from nowhere."""
    facts = (written.session() / "final" / "facts.yaml").read_text()
    assert '  text: "$30"\n' in facts
    assert '  source: "topic"\n' in facts
    planted = facts[facts.index('"98.7%"') :]
    assert planted[planted.index("origin: ") :].startswith('origin: "unknown"')
    counted = written.metadata()["facts"]
    assert counted["assumption"] == 1
    assert counted["brief"] >= 1
    assert counted["unknown"] >= 1


def test_an_agent_that_obeys_a_page_leaves_no_trace_of_it(written: Program) -> None:
    """No foreign address, no HTML, in the document or its references; the run says what went."""
    document = written.document()
    assert "evil.example" not in document
    assert "<script" not in document
    assert "See the press" in document
    metadata = written.metadata()
    assert set(metadata["removed_links"]) == {
        "https://evil.example/x",
        "https://evil.example/p.png",
        "https://evil.example/y",
    }
    assert any("evil.example" in notice for notice in metadata["notices"])
    html = next((written.session() / "final").glob("*.html")).read_text()
    assert "evil.example" not in html
    outside = {path.name for path in written.folder.iterdir()}
    assert outside == {"output"}


def test_claims_say_who_what_why_and_how_much(written: Program) -> None:
    """Section, words, figure, author, call, source, verdict and cost of every claim."""
    by_figure = {claim["figure"]: claim for claim in claims(written)}
    planted = by_figure["98.7%"]
    assert planted["section"] == "Market"
    assert planted["origin"] == "unknown"
    assert planted["verdict"] == "unsupported"
    assert planted["reason"] == "Our own share is 9%."
    assert planted["task"] == "phase5.polish"
    assert planted["call"]
    assert float(planted["section_cost_usd"]) > 0
    assert by_figure["$30"]["source"] == "topic"
    assert by_figure["$30"]["verdict"] == "supported"
    assert by_figure["1,200 clinics"]["origin"] == "assumption"
    assert by_figure["1,200 clinics"]["verdict"] == "not audited"
    assert {claim["section"] for claim in claims(written, "--section", "price")} == {"Price"}


def test_claims_can_be_read_on_a_screen_and_in_a_spreadsheet(written: Program) -> None:
    """A table with a sum; and CSV in which no cell is a formula."""
    session = written.session().name
    shown = written("claims", session)
    assert shown.returncode == 0, shown.stderr
    assert "UNSUPPORTED" in shown.stdout
    assert "Audit: 1 supported, 1 unsupported" in shown.stdout
    table = written("claims", session, "--csv").stdout
    rows = list(csv.reader(io.StringIO(table)))
    assert rows[0][:3] == ["Section", "Statement", "Figure"]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert "'=cmd costs 7 dollars." in {row[1] for row in rows}


def test_claims_of_the_offline_draft(offline: Program) -> None:
    """Without any AI, what the user gave is traced all the same, and nothing is written."""
    brief = offline.folder / "brief.yaml"
    brief.write_text("price: 10,000 won\nunit_cost: 6,000 won\n")
    done = offline("run", "--topic", "Subscription meal kits", "--brief", str(brief), "--quiet")
    assert done.returncode == 0, done.stderr
    before = {path: path.stat().st_mtime_ns for path in offline.session().rglob("*")}
    found = claims(offline)
    assert ("10,000 won", "brief", "price") in {
        (claim["figure"], claim["origin"], claim["source"]) for claim in found
    }
    assert {claim["agent"] for claim in found} <= {"offline", None}
    assert {path: path.stat().st_mtime_ns for path in offline.session().rglob("*")} == before


def test_claims_of_what_is_not_there(offline: Program) -> None:
    """A missing session, an unfinished one, and two forms at once are plain errors."""
    missing = offline("claims", "nothing-here")
    assert missing.returncode == 6
    assert "There is no session nothing-here" in missing.stderr
    assert offline("run", "--topic", "Subscription meal kits", "--quiet").returncode == 0
    name = offline.session().name
    assert offline("claims", name, "--json", "--csv").returncode == 2
    (offline.session() / "final" / "business_plan.md").unlink()
    unfinished = offline("claims", name)
    assert unfinished.returncode == 2
    assert "has no document yet" in unfinished.stderr
