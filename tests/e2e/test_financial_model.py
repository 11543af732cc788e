"""The financial model through the command line: drivers in, tables, figures and model.json out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program, Wire

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TOPIC = "Returnable packaging for online grocers"
DRIVERS = {
    "currency": "GBP",
    "first_year": 2027,
    "years": 3,
    "revenue": [
        {"name": "Crates", "unit": "grocers", "price": {"value": 14400, "origin": "brief"},
         "volume": {"values": [12, 34, 60], "origin": "brief"}, "unit_cost": 5040}
    ],
    "costs": [{"name": "Rent", "amount": 222000}],
    "funding": [{"name": "Seed", "kind": "equity", "amount": 450000}],
    "tax_percent": 25,
    "scenarios": {"down": {"volume": 0.5, "reason": "a rival"}},
}  # fmt: skip
WRITTEN = """# LoopCrate – Business Plan

## 6. Market

It grows.

## 12. Financials

**Table 1. Profit and loss**

| Item | Year 1 |
| --- | --- |
| Revenue | 987,654 |

[[table:cash_flow]]

## 14. Risks

Some.
"""
ASKS_FOR_DRIVERS = {"contains": "# Task: drivers of the financial model"}
ASKS_FOR_THE_DOCUMENT = {"contains": "# Task: the final document"}


def script(wire: Wire, *drivers: str) -> None:
    """The answers to the questions for drivers, in order, and one document for all writers."""
    wire.script(
        rules=[
            *(
                {"match": {**ASKS_FOR_DRIVERS, "nth": n}, "action": {"text": text}}
                for n, text in enumerate(drivers, start=1)
            ),
            {"match": ASKS_FOR_THE_DOCUMENT, "action": {"text": WRITTEN}},
        ]
    )


def fenced(drivers: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(drivers)}\n```"


def model(program: Program) -> dict[str, Any]:
    """``model.json`` of the newest session."""
    value: dict[str, Any] = json.loads((program.session(-1) / "final" / "model.json").read_text())
    return value


def row(document: str, caption: str, label: str) -> list[str]:
    """The cells behind ``label`` in the table below ``caption``."""
    table = document.split(caption, 1)[1]
    line = next(line for line in table.splitlines() if line.startswith(f"| {label} |"))
    return line.strip("| ").split(" | ")[1:]


def test_offline_the_brief_alone_makes_the_model(offline: Program) -> None:
    """The tables of the document are those of model.json; what the brief leaves open stays open."""
    brief = str(EXAMPLES / "brief-bizplan.en.yaml")
    done = offline("run", "--topic", TOPIC, "--lang", "en", "--brief", brief)
    assert done.returncode == 0, done.stderr
    base = model(offline)["scenarios"]["base"]
    document = offline.document()
    for name, label in (("revenue", "Revenue"), ("ebit", "Operating profit (EBIT)")):
        assert row(document, "Profit and loss", label) == [f"{value:,}" for value in base[name]]
    assert base["ebit"] == [-109_680, 96_240, 339_600]
    assert "net_profit" not in base, "the brief gives no tax rate"
    assert model(offline)["break_even"]["units"] == 24
    assert offline.metadata()["financial_model"] is True


@pytest.mark.parametrize("arguments", [["--lang", "ko", "--template", "startup"]])
def test_figures_stand_in_the_document_and_beside_it(
    offline: Program, arguments: list[str]
) -> None:
    """Every image of the document is a file of the session, as SVG and PNG, and in the HTML."""
    brief = str(EXAMPLES / "brief-startup.ko.md")
    done = offline("run", "--topic", "동네 세탁소 무인 수거함", *arguments, "--brief", brief)
    assert done.returncode == 0, done.stderr
    final = offline.session() / "final"
    images = re.findall(r"!\[.+?\]\((figures/\w+\.svg)\)", offline.document())
    assert len(images) == 3
    for name in images:
        assert (final / name).read_text().lstrip().startswith("<?xml")
        assert (final / name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert re.findall(r"\*그림 (\d)\. ", offline.document()) == ["1", "2", "3"]
    assert next(final.glob("*.html")).read_text().count("data:image") == 3


def test_the_writers_own_figures_are_replaced_by_computed_ones(quick: Program, wire: Wire) -> None:
    """Drivers from an agent, the statements by code: the invented revenue is gone."""
    script(wire, fenced(DRIVERS))
    done = quick("run", "--topic", TOPIC, "--lang", "en")
    assert done.returncode == 0, done.stderr
    document, base = quick.document(), model(quick)["scenarios"]["base"]
    assert "987,654" not in document
    assert "[[" not in document
    assert row(document, "Profit and loss", "Net profit") == [f"{v:,}" for v in base["net_profit"]]
    assert row(document, "Cash flow", "Closing cash") == [f"{v:,}" for v in base["cash"]]
    assert row(document, "Balance sheet", "Total assets") == [f"{v:,}" for v in base["assets"]]
    both = zip(base["liabilities"], base["equity"], strict=True)
    assert base["assets"] == [sum(pair) for pair in both]
    assert "2027 (GBP)" in document
    assert "(client's figure)" in document
    assert "[assumption]" in document
    heard = [json.dumps(request["body"]) for request in wire.requests()]
    assert any("[[table:cash_flow]]" in body and "172,800" in body for body in heard), "phase 4"


def test_bad_drivers_are_asked_for_once_more(quick: Program, wire: Wire) -> None:
    """One more question names the fault; its answer makes the model, and is remembered."""
    bad = fenced(DRIVERS | {"tax_percent": 250})
    script(wire, bad, fenced(DRIVERS))
    assert quick("run", "--topic", TOPIC, "--lang", "en").returncode == 0
    assert len(wire.billed()) == 14
    assert "not between 0 and 100" in json.dumps([r["body"] for r in wire.requests()])
    assert model(quick)["scenarios"]["base"]["revenue"] == [172_800, 489_600, 864_000]
    assert quick("resume", quick.session().name).returncode == 0
    assert len(wire.billed()) == 14


def test_without_usable_drivers_the_document_says_so(quick: Program, wire: Wire) -> None:
    """Two bad answers: the writer's tables stay, no model is written, and the reason is kept."""
    script(wire, "I would rather not.", "Still not.")
    assert quick("run", "--topic", TOPIC, "--lang", "en").returncode == 0
    assert len(wire.billed()) == 14
    metadata = quick.metadata()
    assert metadata["financial_model"] is False
    assert "no JSON object" in metadata["financial_model_reason"]
    assert any("no financial model" in notice for notice in metadata["notices"])
    assert "987,654" in quick.document()
    assert "[[" not in quick.document()
    assert not (quick.session() / "final" / "model.json").exists()


def test_edited_drivers_count_when_the_session_is_resumed(quick: Program, wire: Wire) -> None:
    """A price changed by hand changes every table; only the writers are asked again."""
    script(wire, fenced(DRIVERS))
    assert quick("run", "--topic", TOPIC, "--lang", "en").returncode == 0
    file = quick.session() / "phase3" / "financial_model.md"
    file.write_text(file.read_text().replace("14400", "20000"))
    wire.reset()
    script(wire)
    assert quick("resume", quick.session().name).returncode == 0
    assert len(wire.billed()) == 6
    assert model(quick)["scenarios"]["base"]["revenue"] == [240_000, 680_000, 1_200_000]
    assert row(quick.document(), "Profit and loss", "Revenue")[0] == "240,000"
