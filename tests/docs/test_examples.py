"""What the documentation tells to type works, and shows what it says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from aigenflow.core.models import AgentType, Backend
from aigenflow.testing import WireServerProcess
from tests.docs.pages import DOCS, ROOT, Example, ShownFile, Source, code, pages, rows, steps
from tests.docs.reader import DEFAULTS, NOT_TYPED, Reader, missing_lines
from tests.support.program import Wire

pytestmark = pytest.mark.slow

AT_A_PRICE: Mapping[str, Collection[AgentType]] = {
    "money": AgentType,
    "save-money": AgentType,
    "set-a-budget": AgentType,
    "batch": {AgentType.GEMINI},  # one job: a job is not looked at before five seconds have gone
}
"""The pages whose examples show prices, and the agents that have one there."""

WITH_EXAMPLES = [page for page in pages() if any(steps(page.read_text("utf-8")))]


@pytest.fixture(scope="module")
def wire_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with WireServerProcess(state_dir=tmp_path_factory.mktemp("wire")) as server:
        yield server.url


@pytest.fixture
def wire_url(wire_process: str) -> str:
    """Of a server with the models that pages name, whose batch jobs end at once."""
    wire = Wire(url=wire_process)
    wire.reset()
    models = ["qwen3:32b", *(model for _backend, model in DEFAULTS.values())]
    wire.script(models={"compatible": models}, jobs=[{"action": {"polls": 0}}])
    return wire_process


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.timeout(300)
def test_every_example_of_a_page_works_and_prints_what_the_page_shows(
    page: Path, tmp_path: Path, wire_url: str
) -> None:
    """From top to bottom in one folder, as a reader would: each exits with 0."""
    reader = Reader(tmp_path, wire_url, at_a_price=AT_A_PRICE.get(page.stem, ()))
    for step in steps(page.read_text("utf-8")):
        match step:
            case ShownFile():
                reader.save(step)
            case Source():
                reader.python(step)
            case Example():
                printed = reader.type(step)
                missing = missing_lines(step.output, printed)
                assert not missing, f"{page.name}:{step.line} shows {missing}, printed:\n{printed}"


def commands() -> list[str]:
    """Everything that any page tells to type."""
    found = (step for page in WITH_EXAMPLES for step in steps(page.read_text("utf-8")))
    return [step.command for step in found if isinstance(step, Example)]


def test_commands_that_are_not_typed_are_in_the_documentation() -> None:
    """The list of exceptions holds no more than it must, and most commands are typed."""
    typed = commands()
    exceptions = {
        command: name for command in typed for name in NOT_TYPED if command.startswith(name)
    }
    assert set(exceptions.values()) == set(NOT_TYPED)
    assert len(exceptions) < len(typed) / 4


def test_no_block_is_of_a_kind_that_nobody_tries() -> None:
    """What looks like a command or a program is written so that the tests above find it."""
    for page in pages():
        text = page.read_text("utf-8")
        assert "```sh\n" not in text, page
        assert "```bash\n" not in text, page
        assert "```py\n" not in text, page


def test_the_python_example_writes_a_document_without_any_key(tmp_path: Path) -> None:
    """Copied from the page of the API, it prints where the document is."""
    (source,) = (step for step in steps((DOCS / "api.md").read_text("utf-8")))
    assert isinstance(source, Source)
    document = Path(Reader(tmp_path, "").python(source).splitlines()[-1])
    assert (document.parent.name, document.suffix) == ("final", ".md")


def test_a_new_provider_belongs_into_the_tables_that_the_page_names() -> None:
    """Each is where the page says, and has every provider there is."""
    page = (DOCS / "how-to" / "add-a-provider.md").read_text("utf-8")
    told = [(code(c[0])[0], code(c[1])[0]) for c in rows(page) if code(c[0])]
    assert len(told) == 4
    for file, name in told:
        module = import_module("aigenflow." + file.removesuffix(".py").replace("/", "."))
        assert set(getattr(module, name)) >= set(Backend) - {Backend.COMPATIBLE, Backend.OFFLINE}


def test_a_page_is_read_as_steps() -> None:
    """Commands with what they print, files by their titles, and pieces of Python, in order."""
    page = (
        '```yaml title="a.yaml"\na: 1\n```\ntext\n'
        "```console\n$ one \\\n    two\nthree\n$ four\n```\n"
        "```text\nno step\n```\n```python\nprint()\n```\n"
    )
    assert list(steps(page)) == [
        ShownFile(path="a.yaml", text="a: 1\n"),
        Example(command="one two", output=("three",), line=6),
        Example(command="four", output=(), line=9),
        Source(text="print()\n", line=15),
    ]


def test_lines_are_compared_in_order_and_without_their_figures() -> None:
    """The comparison finds what is gone, and only that."""
    printed = "Session 20261122-104959-91c713: Kits\n  one: 12 tokens\n  two\n"
    assert missing_lines(("Session 20250101-000000-000000: Kits", "…", "  two"), printed) == []
    assert missing_lines(("  two", "  one: 7 tokens"), printed) == ["  one: 7 tokens"]
    assert missing_lines(("  one: 7 words",), printed) == ["  one: 7 words"]
