"""Drivers are found in what agents write, put right where that is safe, and refused otherwise."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import MalformedAnswerError
from aigenflow.finance.drivers import Drivers, read_drivers
from tests.finance.samples import CRATES, as_answer, crates

LINE = {"name": "A", "price": 10, "volume": 5}
SMALL = '{"revenue": [{"name": "A", "price": 10, "volume": 5}]}'


@pytest.mark.parametrize(
    "answer",
    [
        SMALL,
        f"```json\n{SMALL}\n```",
        f"Sure!\n\n```JSON\n{SMALL}\n```\n\nHope this helps.",
        f"```\n{SMALL}\n```",
        f"```json\n{SMALL}\n",
        f"{SMALL} and some prose with {{braces}}",
        f'```json\n{{"draft": [}}\n```\nBetter:\n```json\n{SMALL}\n```',
        '{"revenue": [{"name": "A", "price": 10, "volume": 5,},],}',
        '{"revenue": [{"name": "A", "price": "10", "volume": "5 units"}], "extra": {"x": 1}}',
        '{"revenue": [{"name": "A", "price": {"value": 10}, "volume": [5, 5, 5]}], "costs": null}',
        '{"revenue": [{"name": "A", "price": 10, "volume": 5}], "tax_percent": NaN}',
    ],
)
def test_drivers_are_found_in_whatever_stands_around_them(answer: str) -> None:
    """Fences, prose, commas too many, numbers as text, unknown keys and NaN do not hide them."""
    [line] = read_drivers(answer).drivers.revenue
    assert (line.name, line.price.at(2), line.volume.at(2)) == ("A", 10, 5)


def test_what_was_put_right_is_told() -> None:
    """Repairs are listed, the same ones for the same answer."""
    answer = '{"revenue": [{"name": "A", "price": 1, "volume": 1}], "tax_percent": NaN, "x": 1,}'
    repairs = read_drivers(answer).repairs
    assert len(repairs) == 4
    assert "NaN was read as not given" in repairs
    assert any("x" in repair for repair in repairs)
    assert read_drivers(answer).repairs == repairs


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"revenue": [LINE | {"price": -1}]}, "below 0"),
        ({"revenue": [LINE | {"volume": [1, 2]}]}, "2 values for 3 years"),
        ({"revenue": [LINE | {"price": "cheap"}]}, "price"),
        ({"revenue": [LINE | {"price": 10**19}]}, "10^18"),
        ({"revenue": [{"name": "A", "volume": 1}]}, "price: Field required"),
        ({"costs": [{"name": "Rent"}]}, "either amount or percent_of_revenue"),
        ({"tax_percent": 120}, "not between 0 and 100"),
        ({"funding": [{"name": "X", "kind": "gift", "amount": 1}]}, "kind"),
        ({"funding": [{"name": "X", "kind": "own", "amount": 1, "in_year": 4}]}, "in_year"),
        ({"market": {"tam": 1, "sam": 2}}, "TAM >= SAM >= SOM"),
        ({"trl": {"start": 7, "target": 4}}, "start < target"),
        ({"tasks": [{"name": "W", "start_month": 5, "end_month": 4}]}, "after end_month"),
        ({"first_year_quarters": [50, 50]}, "four shares"),
        ({"years": 9}, "years"),
        (
            {"rd_budget": {"years": 1, "government": 5, "own_cash": 1, "own_in_kind": 1,
                           "items": [{"name": "P", "amount": 6}]}},
            "add up to 6, the funds to 7",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(changes: dict[str, Any], problem: str) -> None:
    """The message says where the fault is, so that one more question can put it right."""
    with pytest.raises(MalformedAnswerError) as caught:
        read_drivers(as_answer(CRATES | changes))
    assert problem in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "answer", ["", "no figures", "[1, 2]", '{"years": 3}', "[" * 10**5, '{"a":' * 10**5]
)
def test_an_answer_without_drivers_is_refused(answer: str) -> None:
    """Prose, lists, empty objects and endless brackets."""
    with pytest.raises(MalformedAnswerError):
        read_drivers(answer)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever an agent writes, it is drivers or a designed error."""
    for answer in (text, f"```json\n{text}\n```", '{"revenue": ' + text):
        try:
            assert isinstance(read_drivers(answer).drivers, Drivers)
        except MalformedAnswerError:
            continue


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*Drivers.model_fields, "value", "values", "name", "amount"]), inner,
        max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_no_json_breaks_the_reader(value: object) -> None:
    """Any JSON in the place of any key is drivers or a designed error, NaN and infinity too."""
    for key in ("revenue", "market", "rd_budget", "tax_percent"):
        try:
            read_drivers(json.dumps(CRATES | {key: value}))
        except MalformedAnswerError:
            continue


@pytest.mark.parametrize(
    ("written", "origin"),
    [("brief", "brief"), ("의뢰인 자료", "brief"), ("#3", "e3"), ("[#12]", "e12"), ("e7", "e7"),
     (4, "e4"), ("assumption", "assumption"), ("가정", "assumption"), ("my feeling", "assumption"),
     (None, "assumption")],
)  # fmt: skip
def test_an_origin_is_the_brief_a_source_or_an_assumption(written: object, origin: str) -> None:
    """What names neither brief nor source counts as assumed, never as proved."""
    drivers = crates(tax_percent={"value": 10, "origin": written})
    assert drivers.tax_percent is not None
    assert drivers.tax_percent.origin == origin


def test_growth_is_counted_in_whole_things_and_exact_money() -> None:
    """15 customers that grow by half are 22 and 33; a price keeps its fraction."""
    growing = {"value": 15, "growth_percent": 50}
    [line] = crates(revenue=[{"name": "A", "price": growing, "volume": growing}]).revenue
    assert [line.volume.count_at(n) for n in range(3)] == [15, 22, 33]
    assert line.price.at(1) == Decimal("22.5")
