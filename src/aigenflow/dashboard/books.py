"""What the pages read of the ledger. All figures are the ledger's own. Blocks on the disk."""

from __future__ import annotations

from collections.abc import Sequence

from aigenflow.app import App
from aigenflow.monitoring.models import Account, EstimateReview, Totals
from aigenflow.monitoring.report import budget_accounts


def totals_of(app: App, session: str) -> Totals | None:
    """What a session has used so far; ``None`` where nobody keeps books."""
    if app.tracker is None:
        return None
    found = app.tracker.totals(session=session)
    return found[0] if found else Totals()


def accounts_of(app: App, session: str = "") -> tuple[Account, ...]:
    """Today's budgets, and those of a session."""
    return budget_accounts(app.tracker, session) if app.tracker else ()


def review_of(app: App, session: str) -> EstimateReview | None:
    """Estimate against actual; ``None`` where no call of the session had an estimate."""
    if app.tracker is None:
        return None
    review = app.tracker.review(session)
    return review if review.calls else None


def thresholds(app: App) -> Sequence[int]:
    """Per cent of a budget at which the user is told."""
    return app.settings.budget.thresholds
