"""What the guides list is what the program has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import pytest

from aigenflow.cache.key_generator import ingredients
from aigenflow.cli.quality import EXIT_FAILED, EXIT_NOT_VERIFIED
from aigenflow.core import errors
from aigenflow.core.config import Settings, leaf_keys, load_settings
from aigenflow.core.models import AgentRequest, AgentType, Backend, ContextDocument, Route
from aigenflow.core.yaml import parse_yaml
from aigenflow.main import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED
from aigenflow.pipeline.orchestrator import PHASES
from aigenflow.templates.brief import parse_brief
from aigenflow.templates.loader import list_templates
from aigenflow.templates.vocabulary import KEYS
from tests.docs.pages import DOCS, ROOT, blocks, code, rows

SETTINGS = (DOCS / "guide" / "settings.md").read_text("utf-8")
DEFAULTS = Settings().model_dump(mode="json")


def value_of(key: str) -> object:
    value: object = DEFAULTS
    for part in key.split("."):
        assert isinstance(value, dict)
        value = value[part]
    return value


def documented_settings() -> Iterator[tuple[str, str]]:
    """Key and default of every row; ``<agent>`` stands for each of the four."""
    for cells in rows(SETTINGS):
        for key in code(cells[0]):
            if "." in key or key in DEFAULTS:
                for agent in AgentType:
                    yield key.replace("<agent>", agent.value), cells[1]


def test_every_setting_is_explained_and_every_explained_setting_exists() -> None:
    """The guide and ``aigenflow config list`` name the same keys."""
    assert {key for key, _default in documented_settings()} == set(leaf_keys())


def test_the_defaults_in_the_guide_are_the_shipped_ones() -> None:
    """A default in code style is the value itself, as one would type it."""
    compared = 0
    for key, default in documented_settings():
        for text in code(default):
            assert parse_yaml(text, key) == value_of(key), key
            compared += 1
    assert compared > 30


def test_the_table_of_agents_is_how_they_are_reached_by_default() -> None:
    """Back-end, model and key variable of each role."""
    told = {
        cells[0]: [text for cell in cells[1:] for text in code(cell)] for cells in rows(SETTINGS)
    }
    for agent in AgentType:
        settings = Settings().agents.of(agent)
        assert told[agent.value] == [settings.backend, settings.model, settings.api_key_env]


@pytest.mark.parametrize("name", ["settings", "providers"])
def test_settings_shown_as_a_file_are_accepted(name: str, tmp_path: Path) -> None:
    """Each YAML block can be copied into ``aigenflow.yaml``."""
    shown = [text for _line, text in blocks((DOCS / f"guide/{name}.md").read_text("utf-8"), "yaml")]
    assert shown
    for text in shown:
        (tmp_path / "aigenflow.yaml").write_text(text)
        assert load_settings(tmp_path / "home", tmp_path) != Settings()


def test_the_keys_of_a_brief_are_those_that_are_understood() -> None:
    """The guide lists the vocabulary, and its example uses nothing else."""
    page = (DOCS / "guide" / "briefs.md").read_text("utf-8")
    listed = re.search(r"these keys.*?\n\n(.*?)\n\n", page, re.DOTALL)
    assert listed
    text = re.sub(r"`(\w+)_year1` … `\w+_year5`", _five_years, listed[1])
    assert sorted(code(text)) == sorted(KEYS)
    for _line, brief in blocks(page, "yaml"):
        assert parse_brief(brief).facts
        assert parse_brief(brief).notes == ()


def _five_years(found: re.Match[str]) -> str:
    return " ".join(f"`{found[1]}_year{year}`" for year in range(1, 6))


def test_the_table_of_templates_is_complete() -> None:
    """Every shipped template, with its type and languages."""
    page = (DOCS / "guide" / "templates.md").read_text("utf-8")
    kinds = {"business plan": "bizplan", "R&D proposal": "rd"}
    told = {code(c[0])[0]: kinds[c[1]] for c in rows(page) if code(c[0]) and c[1] in kinds}
    assert told == {info.name: info.document_type.value for info in list_templates()}


def test_every_exit_code_is_explained() -> None:
    """The table has the codes of the tree of errors, of a verdict and of the program's end."""
    page = (DOCS / "guide" / "sessions.md").read_text("utf-8")
    told = {int(n) for cells in rows(page) for n in re.findall(r"^\d+(?:, \d+)*$", cells[0])
            for n in n.split(", ")}  # fmt: skip
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)
              and issubclass(kind, errors.AigenflowError)}  # fmt: skip
    verdicts = {EXIT_FAILED, EXIT_NOT_VERIFIED}
    assert told == {0, EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, *verdicts, *raised}


def test_every_ingredient_of_the_cache_key_is_explained() -> None:
    """The page on the cache names what a key is made of, and nothing else."""
    request = AgentRequest(
        agent=AgentType.CLAUDE,
        phase=1,
        task="validate",
        prompt="Is it true?",
        context=(ContextDocument(id="brief", title="Brief", text="We sell crates."),),
    )
    route = Route(agent=AgentType.CLAUDE, actor=AgentType.CLAUDE, backend=Backend.OPENAI, model="m")
    made_of = {name.partition("[")[0] for name in ingredients(request, route, "none")}
    page = (DOCS / "explanation" / "what-is-cached.md").read_text("utf-8")
    assert {name for cells in rows(page) for name in code(cells[0])} == made_of


def test_every_task_of_the_pipeline_is_explained() -> None:
    """The page on the life of a request lists the phases with their tasks and agents, in order."""
    page = (DOCS / "explanation" / "life-of-a-request.md").read_text("utf-8")
    told = [code(cells[2]) for cells in rows(page) if cells[0].isdigit()]
    assert told == [
        tuple(text for task in phase.tasks for text in (task.name, task.agent.value))
        for phase in PHASES
    ]


def test_every_dependency_has_its_reason_and_its_licence() -> None:
    """The table names the direct dependencies of the program, with the licence each declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    direct = {re.split(r"[\[<>=]", text)[0] for text in project["dependencies"]}
    page = (DOCS / "dependencies.md").read_text("utf-8")
    table = [(code(cells[0]), cells[1]) for cells in rows(page) if code(cells[0])]
    assert {name for names, _licence in table for name in names} == direct
    for names, licence in table:
        for name in names:
            fields = ("License-Expression", "License", "Classifier")
            said = [text for field in fields for text in metadata(name).get_all(field) or []]
            assert any(licence.split("-")[0] in text for text in said), name
