"""Prices for people to read: what is told as a change, and what is not."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aigenflow.core.config import Settings
from aigenflow.core.models import AgentType, ServedFrom
from aigenflow.monitoring import published
from aigenflow.monitoring.models import RateSource
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.price_sheet import Quote, differences, quotes
from tests.support.prices import table

NOW = datetime(2026, 11, 19, 12, tzinfo=UTC)
AGENTS = Settings().agents


def book(home: Path, user: str = "", **prices: Any) -> PriceBook:
    """Prices as fetched, and the user's table."""
    published.save(home, table(**prices), NOW)
    (home / "pricing.yaml").write_text(user)
    return PriceBook.load(home / "pricing.yaml")


def claude(prices: PriceBook, at: datetime = NOW) -> Quote:
    return next(quote for quote in quotes(prices, AGENTS, at) if quote.agent is AgentType.CLAUDE)


def dated(later: int) -> list[dict[str, Any]]:
    """$1 and $2 now; from December on the output costs ``later``."""
    return [
        {"prices": {"input_mtok": 1, "output_mtok": 2}},
        {
            "constraint": {"type": "start_date", "start_date": "2026-12-01"},
            "prices": {"input_mtok": 1, "output_mtok": later},
        },
    ]


@pytest.mark.parametrize("later", [2, 3])
def test_a_dated_price_is_a_change_only_where_it_differs(tmp_path: Path, later: int):
    """The same price on a new date is none."""
    change = claude(book(tmp_path, anthropic=dated(later))).change
    if later == 2:
        assert change is None
    else:
        assert change is not None
        assert change.day == date(2026, 12, 1)
        assert change.offers[0].steps[0].prices["output"] == Decimal(3)


def test_a_row_that_begins_today_is_in_force(tmp_path: Path):
    """It is the last change and no longer the next one."""
    row = "{name: claude-sonnet-5-5, input_per_million: 4, output_per_million: 5"
    prices = book(tmp_path, f"models: [{row}, since: 2026-11-19}}]")
    quote = claude(prices)
    assert (quote.last_change, quote.change) == (date(2026, 11, 19), None)
    before = claude(prices, datetime(2026, 11, 18, 23, 59, tzinfo=UTC))
    assert before.source is RateSource.EXACT


def test_discounts_are_in_the_users_units(tmp_path: Path):
    """Searches per thousand, requests each, tokens per million."""
    prices = book(
        tmp_path,
        perplexity={
            "input_mtok": 1,
            "output_mtok": 2,
            "requests_kcount": 5,
            "web_searches_kcount": 10,
        },
    )
    quote = next(one for one in quotes(prices, AGENTS, NOW) if one.agent is AgentType.PERPLEXITY)
    [live] = quote.offers
    assert live.mode is ServedFrom.LIVE
    step = live.steps[0]
    assert (step.prices["search"], step.prices["request"]) == (10, Decimal("0.005"))


def test_equal_prices_are_no_difference(tmp_path: Path):
    """A user's row that says what is published."""
    same = "providers: [{name: claude, input_per_million: 1, output_per_million: 2}]"
    found, unlisted = differences(book(tmp_path, same), AGENTS, NOW)
    assert not [one for one in found if one.in_force]
    assert unlisted == ()
