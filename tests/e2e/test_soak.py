"""Many documents while one call in five goes wrong.

A few by default; ``AIGENFLOW_TEST_SOAK`` sets how many (`make test-soak`: 2,000).
"""

from __future__ import annotations

import json
import os
from collections import Counter

import pytest

from tests.support.program import Program, Wire

DOCUMENTS = int(os.environ.get("AIGENFLOW_TEST_SOAK", "4"))
TOGETHER = 20
TRIES = 8
FAULTS = (
    {"status": 429},
    {"status": 429, "headers": {"retry-after": "0.05"}},
    {"status": 500},
    {"status": 503},
    {"status": 529},
    {"fault": "reset_before_headers"},
    {"fault": "reset_mid_body"},
    {"fault": "malformed_json"},
    {"fault": "empty_body"},
    {"fault": "html_200"},
    {"fault": "content_null"},
    {"finish": "length"},
)
SHARE = 0.2


def one_call_in_five(seed: int) -> dict[str, object]:
    """A script in which each kind of fault is equally likely."""
    rules = []
    left = 1.0
    for action in FAULTS:
        share = SHARE / len(FAULTS)
        rules.append({"match": {"probability": share / left}, "action": action})
        left -= share
    return {"seed": seed, "rules": rules}


@pytest.mark.timeout(60 + 20 * DOCUMENTS)
@pytest.mark.parametrize("first", range(0, DOCUMENTS, TOGETHER))
def test_every_document_is_finished_and_nothing_broken_is_in_it(
    quick: Program, wire: Wire, first: int
) -> None:
    """Runs end done or resumable and never with a bug; resuming them ends with the documents."""
    wire.script(**one_call_in_five(first))
    count = min(TOGETHER, DOCUMENTS - first)
    topics = [f"Subscription {first + number} for florists" for number in range(count)]
    (quick.folder / "topics.txt").write_text("\n".join(topics))
    outcomes = [quick("run", "--topics", "topics.txt", timeout=600)]
    for _try in range(TRIES):
        open_sessions = [one["session"] for one in listed(quick) if one["status"] != "completed"]
        outcomes += [quick("resume", one, "--retry-failed") for one in open_sessions]
    codes = Counter(outcome.returncode for outcome in outcomes)
    assert codes.keys() <= {0, 4, 5}, [o.stderr for o in outcomes if o.returncode not in (0, 4, 5)]
    assert not any("Traceback" in outcome.stderr for outcome in outcomes)
    sessions = listed(quick)
    assert Counter(one["status"] for one in sessions) == {"completed": count}, sessions
    assert {one["topic"] for one in sessions} == set(topics)
    for one in sessions:
        check_document(quick, one["session"])
    print(f"{count} documents, exit codes {dict(codes)}, {len(wire.bill())} calls")


def listed(quick: Program) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(quick("status", "--json").stdout)
    return found


def check_document(quick: Program, session: str) -> None:
    """Every task has a whole answer, and the document holds no page of a broken server."""
    folder = quick.folder / "output" / session
    results = [
        record
        for file in folder.glob("phase*/results.json")
        for record in json.loads(file.read_text())["results"].values()
    ]
    assert len(results) >= 12
    assert {record["response"]["finish_reason"] for record in results} == {"complete"}
    text = (folder / "final" / "business_plan.md").read_text()
    assert "<html" not in text.lower()
    assert text.startswith("# ")
    assert "generative AI" in text
