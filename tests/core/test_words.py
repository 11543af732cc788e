"""Every noun that people can meet has a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from aigenflow.core import words
from aigenflow.core.models import Processing, ProcessingChoice, ServedFrom
from aigenflow.engine.fleet_models import FleetStatus
from aigenflow.engine.models import SessionStatus
from aigenflow.monitoring.models import BudgetKind, Waste
from aigenflow.pipeline.orchestrator import PHASES
from aigenflow.pipeline.planner import Supply
from aigenflow.quality.models import Group


@pytest.mark.parametrize(
    ("called", "nouns"),
    [
        (words.status, [*SessionStatus, *FleetStatus, "damaged"]),
        (words.phase, [phase.name for phase in PHASES]),
        (words.processing, [*ServedFrom, *Processing, *ProcessingChoice]),
        (words.supply, Supply),
        (words.budget, BudgetKind),
        (words.waste, Waste),
        (words.quality_group, Group),
    ],
)
def test_every_noun_is_called_something(called: Callable[[str], str], nouns: Iterable[str]) -> None:
    """Its own name: a new state cannot come without a word for it."""
    names = {called(noun) for noun in set(nouns)}
    assert all(names)
    assert len(names) == len(set(nouns))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (86_400, "24.0 h"),
    ],
)
def test_a_duration_is_short(seconds: float, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the unit that a person would use, without false precision."""
    monkeypatch.setenv("LANGUAGE", "en")
    assert words.duration(seconds) == told
