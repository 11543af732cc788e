"""Offline drivers are the brief's own figures, in the form that agents are asked for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    ContextDocument,
    ContextKind,
)
from aigenflow.templates.drafting import Drafter

PLAN = """
product: LoopCrate, a folding crate
price: £1,200 per month
unit_cost: £420 per month
fixed_costs: £18,500 per month
customers_year1: 12 grocers
customers_year2: 34 grocers
tam: £96 million (2025)
sam: £14 million
milestones:
  - {name: Line runs, date: month 3, owner: Ops}
  - {name: Pilot, period: months 2 to 5}
  - {name: Some day, date: later}
"""


def drivers(brief: str, document_type: str = "bizplan") -> dict[str, Any] | None:
    """The JSON of the answer, ``None`` where it holds none."""
    template = "default" if document_type == "bizplan" else "rd"
    assignment = f"topic: T\ndocument_type: {document_type}\ntemplate: {template}\nlanguage: en\n"
    request = AgentRequest(
        agent=AgentType.CHATGPT,
        phase=3,
        task="financial_model",
        prompt="# Task",
        context=(
            ContextDocument(id="a", title="A", text=assignment, kind=ContextKind.ASSIGNMENT),
            ContextDocument(id="b", title="B", text=brief, kind=ContextKind.BRIEF),
        ),
    )
    found = re.search(r"```json\n(.*)\n```", Drafter().compose(request), re.DOTALL)
    return json.loads(found[1]) if found else None


def test_the_brief_becomes_drivers_by_the_year() -> None:
    """Monthly figures are a year's, lists become tasks, and every origin is the brief."""
    found = drivers(PLAN)
    assert found is not None
    [line] = found["revenue"]
    assert (line["name"], line["unit"]) == ("LoopCrate", "grocers")
    assert line["price"] == {"value": 14400, "origin": "brief"}
    assert line["volume"]["values"] == [12, 34]
    assert found["costs"][0]["amount"]["value"] == 222_000
    assert (found["years"], found["market"]["year"]) == (2, 2025)
    assert [(t["name"], t["start_month"], t["end_month"]) for t in found["tasks"]] == [
        ("Line runs", 3, 3),
        ("Pilot", 2, 5),
    ]
    assert set(re.findall(r'"origin": "(\w+)"', json.dumps(found))) == {"brief"}


def test_what_the_brief_does_not_say_is_not_invented() -> None:
    """No tax, no funding terms, no scenarios; and nothing at all from a brief without figures."""
    found = drivers(PLAN)
    assert found is not None
    assert not {"tax_percent", "funding", "scenarios", "rd_budget", "first_year"} & set(found)
    assert drivers("product: LoopCrate\n") is None


@pytest.mark.parametrize("order", ["tam: £1\nsam: £2\n", "tam: many\n"])
def test_market_sizes_that_contradict_each_other_are_left_out(order: str) -> None:
    """A doubt stays a doubt; it does not become a table."""
    assert drivers(order) is None


def test_a_research_budget_needs_all_three_parts() -> None:
    """Government, cash and in kind, for the project as a whole."""
    parts = "government_funding: $80\nown_funding_cash: $5\n"
    assert drivers(parts, "rd") is None
    found = drivers(f"{parts}own_funding_in_kind: $15\n", "rd")
    assert found is not None
    assert found["rd_budget"]["years"] == 1
    assert found["rd_budget"]["own_in_kind"]["value"] == 15
