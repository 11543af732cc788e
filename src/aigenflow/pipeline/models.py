"""The nouns of the pipeline: phases and tasks are data."""

from __future__ import annotations

from dataclasses import dataclass

from aigenflow.core.models import AgentType, Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question of a phase.

    ``reads`` names the tasks of the same phase it waits for, or that were done before; every
    earlier phase is heard anyway.
    """

    name: str
    title_en: str
    title_ko: str
    agent: AgentType
    reads: tuple[str, ...] = ()
    web_search: bool = False
    max_output_tokens: int = 8_000

    def title(self, language: Language) -> str:
        """What the task's result is called where another agent hears it."""
        return self.title_ko if language is Language.KO else self.title_en


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A step of the way from topic to document."""

    number: int
    name: str
    tasks: tuple[Task, ...]

    def waves(self) -> tuple[tuple[Task, ...], ...]:
        """The tasks in groups; those of one group do not need each other and run together."""
        own = {task.name for task in self.tasks}
        done: set[str] = set()
        waves: list[tuple[Task, ...]] = []
        while len(done) < len(self.tasks):
            ready = tuple(
                task
                for task in self.tasks
                if task.name not in done and done.issuperset(own.intersection(task.reads))
            )
            if not ready:
                raise ValueError(f"the tasks of phase {self.number} wait for each other")
            waves.append(ready)
            done.update(task.name for task in ready)
        return tuple(waves)
