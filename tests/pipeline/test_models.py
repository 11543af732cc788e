from __future__ import annotations

import pytest

from aigenflow.core.models import AgentType
from aigenflow.pipeline.models import Phase, Task
from aigenflow.pipeline.orchestrator import PHASES


def a_task(name: str, *reads: str) -> Task:
    return Task(name=name, title_en=name, title_ko=name, agent=AgentType.CLAUDE, reads=reads)


def names(phase: Phase) -> list[list[str]]:
    return [[task.name for task in wave] for wave in phase.waves()]


def test_tasks_run_as_early_as_what_they_read_allows() -> None:
    """Tasks that do not need each other share a wave."""
    phase = Phase(number=1, name="x", tasks=(a_task("c", "a", "b"), a_task("a"), a_task("b")))
    assert names(phase) == [["a", "b"], ["c"]]


def test_tasks_that_wait_for_each_other_are_a_mistake() -> None:
    """A circle is found when the waves are made, not by waiting for ever."""
    phase = Phase(number=1, name="x", tasks=(a_task("a", "b"), a_task("b", "a")))
    with pytest.raises(ValueError, match="wait for each other"):
        phase.waves()


def test_the_five_phases_are_those_of_the_specification() -> None:
    """Who does what, in which phase, and what runs at the same time."""
    assert [
        (phase.number, phase.name, [(task.agent.value, task.name) for task in phase.tasks])
        for phase in PHASES
    ] == [
        (1, "framing", [("chatgpt", "brainstorm"), ("claude", "validate")]),
        (2, "research", [("gemini", "deep_search"), ("perplexity", "fact_check")]),
        (
            3,
            "strategy",
            [
                ("chatgpt", "swot_analysis"),
                ("claude", "narrative"),
                ("chatgpt", "financial_model"),
            ],
        ),
        (
            4,
            "writing",
            [("claude", "draft"), ("gemini", "charts"), ("chatgpt", "executive_summary")],
        ),
        (
            5,
            "review",
            [("perplexity", "verify"), ("claude", "final_review"), ("claude", "polish")],
        ),
    ]
    assert names(PHASES[1]) == [["deep_search", "fact_check"]]
    assert names(PHASES[2]) == [["swot_analysis"], ["narrative", "financial_model"]]
