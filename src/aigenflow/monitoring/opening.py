"""The ledger and its budgets as the settings describe them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from aigenflow.core.clock import Clock
from aigenflow.core.config import BudgetSettings, Settings
from aigenflow.core.files import ensure_directory
from aigenflow.monitoring.models import BudgetLimits, OnExceed
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.monitoring.zones import zone_named

LEDGER_FILE = "ledger.db"


def open_tracker(settings: Settings, home: Path, clock: Clock) -> TokenTracker:
    """The ledger in the home directory, made where there is none.

    Raises :class:`~aigenflow.core.errors.ConfigError` where it cannot be opened.
    """
    ensure_directory(home)
    url = f"sqlite:///{home / LEDGER_FILE}"
    return TokenTracker.open(url, budget_limits(settings.budget), clock)


def budget_limits(budget: BudgetSettings) -> BudgetLimits:
    """The limits that the settings set, in exact dollars."""
    return BudgetLimits(
        daily_usd=_exact(budget.daily_usd),
        weekly_usd=_exact(budget.weekly_usd),
        monthly_usd=_exact(budget.monthly_usd),
        session_usd=_exact(budget.session_usd),
        thresholds=budget.thresholds,
        on_exceed=OnExceed(budget.on_exceed),
        zone=zone_named(budget.timezone),
    )


def _exact(amount: float | None) -> Decimal | None:
    """A dollar amount as the user wrote it: 0.1 is a tenth, not the nearest binary fraction."""
    return None if amount is None else Decimal(str(amount))
