from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from aigenflow.cli.progress import LiveProgress
from aigenflow.core.events import FellBack, TaskStarted
from aigenflow.core.models import AgentType, Backend, Route


def route(actor: AgentType, model: str) -> Route:
    """How the role of claude is played."""
    return Route(agent=AgentType.CLAUDE, actor=actor, backend=Backend.ANTHROPIC, model=model)


def drawn(progress: LiveProgress) -> str:
    """The table of what is under way."""
    console = Console(file=StringIO(), width=120)
    console.print(progress._table())
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.fixture
def progress() -> LiveProgress:
    """One task under way, played by a model with brackets in its name."""
    live = LiveProgress()
    live._console = Console(file=StringIO(), stderr=True)
    live(TaskStarted(phase=1, task="validate", route=route(AgentType.CLAUDE, "m[red]x[/]")))
    return live


def test_a_model_name_is_text_and_never_markup(progress: LiveProgress) -> None:
    """It is shown as it is."""
    assert "claude · m[red]x[/]" in drawn(progress)


def test_an_understudy_is_shown_from_when_it_takes_over(progress: LiveProgress) -> None:
    """The table says who is at work now."""
    understudy = route(AgentType.CHATGPT, "gpt")
    progress(
        FellBack(phase=1, task="validate", agent=AgentType.CLAUDE, to=understudy, reason="down")
    )
    assert "chatgpt · gpt" in drawn(progress)
    assert "claude · m" not in drawn(progress)
