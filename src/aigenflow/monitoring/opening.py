"""The ledger, its budgets and the prices as the settings describe them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from aigenflow.core.clock import Clock
from aigenflow.core.config import BudgetSettings, Settings
from aigenflow.core.files import ensure_directory
from aigenflow.monitoring.models import BudgetLimits, OnExceed
from aigenflow.monitoring.tracker import TokenTracker
from aigenflow.monitoring.zones import zone_named

if TYPE_CHECKING:
    from aigenflow.monitoring.price_book import PriceBook

LEDGER_FILE = "ledger.db"
PRICES_FILE = "pricing.yaml"

_AT_HOME = "sqlite:"
_SQLITE = "sqlite:///"


def open_tracker(settings: Settings, home: Path, clock: Clock) -> TokenTracker:
    """The ledger at ``settings.ledger.url``, made where there is none.

    Raises :class:`~aigenflow.core.errors.ConfigError` where it cannot be opened.
    """
    ensure_directory(home)
    url = ledger_url(settings.ledger.url, home)
    return TokenTracker.open(url, budget_limits(settings.budget), clock)


@contextmanager
def looking_at_tracker(settings: Settings, home: Path, clock: Clock) -> Iterator[TokenTracker]:
    """The ledger for those who only look: where there is no file yet, an empty one stands in.

    Raises :class:`~aigenflow.core.errors.ConfigError` where it cannot be opened.
    """
    url = ledger_url(settings.ledger.url, home)
    with ExitStack() as stack:
        if url.startswith(_SQLITE) and not _file_of(url).exists():
            folder = stack.enter_context(TemporaryDirectory(prefix="aigenflow-"))
            url = f"{_SQLITE}{folder}/{LEDGER_FILE}"
        tracker = TokenTracker.open(url, budget_limits(settings.budget), clock)
        stack.callback(tracker.close)
        yield tracker


def ledger_url(url: str, home: Path) -> str:
    """The address of the ledger's database: ``sqlite:`` is the file in the home directory."""
    return f"{_SQLITE}{home / LEDGER_FILE}" if url == _AT_HOME else url


def open_prices(home: Path) -> PriceBook:
    """The shipped prices and the user's own.

    Raises :class:`~aigenflow.core.errors.ConfigError` naming the row that is wrong.
    """
    # Here, because who only reads the ledger needs no prices.
    from aigenflow.monitoring.price_book import PriceBook

    return PriceBook.load(home / PRICES_FILE)


def budget_limits(budget: BudgetSettings) -> BudgetLimits:
    """The limits that the settings set, in exact dollars."""
    return BudgetLimits(
        daily_usd=_exact(budget.daily_usd),
        weekly_usd=_exact(budget.weekly_usd),
        monthly_usd=_exact(budget.monthly_usd),
        session_usd=_exact(budget.session_usd),
        phase_usd={phase: Decimal(str(usd)) for phase, usd in budget.phase_usd.items()},
        ring_fence=Decimal(str(budget.ring_fence_percent)) / 100,
        thresholds=budget.thresholds,
        on_exceed=OnExceed(budget.on_exceed),
        zone=zone_named(budget.timezone),
    )


def _exact(amount: float | None) -> Decimal | None:
    """A dollar amount as the user wrote it: 0.1 is a tenth, not the nearest binary fraction."""
    return None if amount is None else Decimal(str(amount))


def _file_of(url: str) -> Path:
    return Path(url.removeprefix(_SQLITE)).expanduser()
