"""Published prices: the package's own, and those that were fetched since."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from aigenflow.core.models import AgentType, Backend
from aigenflow.monitoring import published
from aigenflow.monitoring.models import Rates
from aigenflow.monitoring.price_book import PriceBook
from aigenflow.monitoring.published import FETCHED_FILE, Published
from tests.support.prices import table

NOW = datetime(2026, 11, 19, 12, tzinfo=UTC)
CHEAP = table(anthropic={"input_mtok": 0.1, "output_mtok": 0.3})


def claude(book: PriceBook) -> Rates:
    return book.require(AgentType.CLAUDE, Backend.ANTHROPIC, "claude-sonnet-5-5", NOW)


def test_what_was_fetched_is_what_runs_are_billed_with(tmp_path: Path):
    """The price book finds it beside the user's table, to the last digit."""
    published.save(tmp_path, CHEAP, NOW)
    rates = claude(PriceBook.load(tmp_path / "pricing.yaml"))
    assert rates.base.input == Decimal("0.0000001")
    assert rates.base.output == Decimal("0.0000003")


def test_without_a_fetch_the_packages_own_prices_count():
    """And a price book without a folder never looks for any."""
    assert claude(PriceBook.load()).base.input == Decimal("0.000002")
    assert Published.load().edition(NOW.date()).fetched is None


def test_a_new_package_brings_its_own_prices(tmp_path: Path):
    """What an older version fetched is older, or of another format."""
    path = published.save(tmp_path, CHEAP, NOW)
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "package": "0.0.1"}))
    assert claude(PriceBook.load(tmp_path / "pricing.yaml")).base.input == Decimal("0.000002")


def test_the_file_is_the_users_only(tmp_path: Path):
    """0600, in a folder that is made where there is none."""
    path = published.save(tmp_path / "home", CHEAP, NOW)
    assert path == tmp_path / "home" / FETCHED_FILE
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_edition_knows_its_age(tmp_path: Path):
    """When it was fetched, or at least how new its newest price is."""
    published.save(tmp_path, CHEAP, NOW)
    assert Published.load(tmp_path).edition(NOW.date()).fetched == NOW
    own = Published.load()
    now, later = (own.edition(day).newest_change for day in (NOW.date(), date(2027, 1, 1)))
    assert now is not None
    assert now <= NOW.date()
    assert later == date(2027, 1, 1)


@pytest.mark.parametrize("vendor", ["anthropic", "openai", "google", "perplexity"])
def test_a_table_without_a_vendor_is_refused(vendor: str):
    """Its models would fall back to estimates without a word."""
    providers = [one for one in json.loads(table()) if one["id"] != vendor]
    with pytest.raises(ValueError, match=vendor):
        published._check(published._snapshot(providers))
