"""What an answer costs depends on the tier it was served at, not on the one asked for."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.support.program import Program, Wire

ASK = ("ask", "--agent", "chatgpt", "--json", "How large is the market?")
FLEX = {"AIGENFLOW_AGENTS__CHATGPT__OPTIONS__SERVICE_TIER": "flex"}


def asked(program: Program) -> dict[str, Any]:
    result = program(*ASK, env=FLEX)
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@pytest.mark.parametrize(
    ("tier", "served_from", "share"),
    [("flex", "flex", "0.5"), ("default", "live", "1"), ("priority", "priority", "2")],
)
def test_the_tier_that_the_answer_names_is_paid(
    program: Program, wire: Wire, tier: str, served_from: str, share: str
) -> None:
    """Flex costs half, priority twice as much as the same answer live."""
    wire.script(rules=[{"match": {"tier": "flex"}, "action": {"tier": tier}}])
    answer = asked(program)
    (line,) = wire.billed()
    live = (line["input_tokens"] * Decimal(2) + line["output_tokens"] * Decimal(10)) / 1_000_000
    assert line["tier"] == tier
    assert answer["served_from"] == served_from
    assert Decimal(answer["estimated_cost"]) == live * Decimal(share)
