"""The ledger and the budgets as the settings describe them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from aigenflow.core.config import BudgetSettings, LedgerSettings, Settings
from aigenflow.core.errors import ConfigError
from aigenflow.monitoring.models import OnExceed
from aigenflow.monitoring.opening import (
    budget_limits,
    ledger_url,
    looking_at_tracker,
    open_tracker,
)
from aigenflow.testing.clock import ManualClock


def test_limits_are_exactly_what_was_written():
    """A tenth is a tenth, and what was not set is no limit."""
    limits = budget_limits(
        BudgetSettings(
            daily_usd=0.1,
            phase_usd={2: 0.3},
            ring_fence_percent=12.5,
            on_exceed="warn",
            timezone="Asia/Seoul",
        )
    )
    assert limits.daily_usd == Decimal("0.1")
    assert limits.weekly_usd is None
    assert limits.phase_usd == {2: Decimal("0.3")}
    assert limits.ring_fence == Decimal("0.125")
    assert limits.on_exceed is OnExceed.WARN
    assert limits.zone == ZoneInfo("Asia/Seoul")


def test_the_ledger_is_at_home_unless_it_is_put_elsewhere():
    """``sqlite:`` is the file in the home directory; any other address is taken as it is."""
    home = Path("/home/me/.aigenflow")
    assert ledger_url("sqlite:", home) == "sqlite:////home/me/.aigenflow/ledger.db"
    assert ledger_url("postgresql://me@db/money", home) == "postgresql://me@db/money"


def test_looking_shows_what_is_there_and_makes_nothing(tmp_path: Path):
    """An empty ledger stands in for none; afterwards there is still none."""
    home, clock = tmp_path / "home", ManualClock()
    with looking_at_tracker(Settings(), home, clock) as tracker:
        assert tracker.totals() == []
    assert not home.exists()
    open_tracker(Settings(), home, clock).close()
    assert (home / "ledger.db").exists()
    with looking_at_tracker(Settings(), home, clock) as tracker:
        assert tracker.totals() == []


@pytest.mark.parametrize("url", ["mysql://db", "sqlite:///", "ledger.db"])
def test_an_address_that_is_none_is_one_clear_error(tmp_path: Path, url: str):
    """For those who write and for those who only look."""
    settings = Settings(ledger=LedgerSettings(url=url))
    with pytest.raises(ConfigError, match="is not the address of a database"):
        open_tracker(settings, tmp_path, ManualClock())
    with (
        pytest.raises(ConfigError, match="is not the address of a database"),
        looking_at_tracker(settings, tmp_path, ManualClock()),
    ):
        pass
