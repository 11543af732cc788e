"""What many documents take together, each question that several of them ask bought once. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aigenflow.core.models import ServedFrom
from aigenflow.monitoring.models import ZERO, Account
from aigenflow.pipeline.planner import (
    MODES,
    BudgetOutlook,
    ModeTotal,
    Plan,
    Supply,
    add_amounts,
    outlook,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotation:
    """The plans of many documents and their sum.

    ``budgets`` are those that all of them share; those of a session are in its plan.
    """

    plans: tuple[Plan, ...]
    totals: tuple[ModeTotal, ...]
    budgets: tuple[BudgetOutlook, ...]
    saved: Decimal

    @property
    def live(self) -> ModeTotal:
        """All of it bought live."""
        return self.totals[0]

    @property
    def expected(self) -> Decimal | None:
        """What they are expected to cost, each answer bought as a run would buy it."""
        return add_amounts(plan.chosen.expected for plan in self.plans)

    @property
    def worst(self) -> Decimal | None:
        """What they cost at worst, bought so."""
        return add_amounts(plan.chosen.worst for plan in self.plans)

    @property
    def is_over_budget(self) -> bool:
        """What they are expected to cost does not fit into some budget."""
        return any(budget.exceeded for budget in self.budgets) or any(
            plan.is_over_budget for plan in self.plans
        )

    @property
    def unpriced_models(self) -> tuple[str, ...]:
        """Models that would be asked and whose price nobody knows."""
        return tuple(dict.fromkeys(name for plan in self.plans for name in plan.unpriced_models))

    def count(self, supply: Supply) -> int:
        """How many answers would come from there."""
        return sum(plan.count(supply) for plan in self.plans)


def add_up(
    plans: Sequence[Plan], accounts: Iterable[Account], ring_fence: Decimal, *, at_once: int
) -> Quotation:
    """The sum of ``plans`` beside the budgets in force.

    ``at_once`` documents are written side by side, each as long as the longest.
    """
    tasks = [task for plan in plans for task in plan.tasks]
    offered = {total.mode for plan in plans for total in plan.totals}
    rounds = math.ceil(len(plans) / at_once)
    return Quotation(
        plans=tuple(plans),
        totals=tuple(
            _sum([_in_mode(plan, mode) for plan in plans], mode, rounds)
            for mode in MODES
            if mode in offered
        ),
        budgets=tuple(
            outlook(account, tasks, ring_fence)
            for account in accounts
            if not account.window.session
        ),
        saved=sum((plan.saved for plan in plans), ZERO),
    )


def _in_mode(plan: Plan, mode: ServedFrom) -> ModeTotal:
    """The plan bought in ``mode``: live, where that has no rate of its own."""
    return next((total for total in plan.totals if total.mode is mode), plan.live)


def _sum(totals: Sequence[ModeTotal], mode: ServedFrom, rounds: int) -> ModeTotal:
    return ModeTotal(
        mode=mode,
        calls=sum(total.calls for total in totals if total.mode is mode),
        expected=add_amounts(total.expected for total in totals),
        worst=add_amounts(total.worst for total in totals),
        expected_seconds=rounds * max(total.expected_seconds for total in totals),
        worst_seconds=rounds * max(total.worst_seconds for total in totals),
    )
