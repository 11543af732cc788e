"""What the documentation tells to type works, and shows what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aigenflow.testing import WireServerProcess
from tests.docs.pages import DOCS, ROOT, blocks, examples, pages
from tests.docs.reader import DEFAULTS, NOT_TYPED, Reader, missing_lines

pytestmark = pytest.mark.slow

WITH_COMMANDS = [page for page in pages() if any(blocks(page.read_text("utf-8"), "console"))]


@pytest.fixture
def wire_url(tmp_path: Path) -> Iterator[str]:
    models = [model for _backend, model in DEFAULTS.values()]
    with WireServerProcess(
        {"models": {"compatible": models}}, state_dir=tmp_path / "wire"
    ) as server:
        yield server.url


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_works_and_prints_what_the_page_shows(
    page: Path, tmp_path: Path, wire_url: str
) -> None:
    """From top to bottom in one folder, as a reader would: each exits with 0."""
    reader = Reader(tmp_path, wire_url, at_a_price=page.stem == "money")
    for example in examples(page.read_text("utf-8")):
        printed = reader.type(example)
        missing = missing_lines(example.output, printed)
        assert not missing, f"{page.name}:{example.line} shows {missing}, printed:\n{printed}"


def test_commands_that_are_not_typed_are_in_the_documentation() -> None:
    """The list of exceptions holds no more than it must."""
    typed = [e.command for page in WITH_COMMANDS for e in examples(page.read_text("utf-8"))]
    assert {name for name in NOT_TYPED if not any(t.startswith(name) for t in typed)} == set()


def test_the_python_example_writes_a_document_without_any_key(tmp_path: Path) -> None:
    """Copied from the page of the API, it prints where the document is."""
    ((_line, source),) = blocks((DOCS / "api.md").read_text("utf-8"), "python")
    document = Path(Reader(tmp_path, "").python(source).splitlines()[-1])
    assert (document.parent.name, document.suffix) == ("final", ".md")


def test_lines_are_compared_in_order_and_without_their_figures() -> None:
    """The comparison finds what is gone, and only that."""
    printed = "Session 20261122-104959-91c713: Kits\n  one: 12 tokens\n  two\n"
    assert missing_lines(("Session 20250101-000000-000000: Kits", "…", "  two"), printed) == []
    assert missing_lines(("  two", "  one: 7 tokens"), printed) == ["  one: 7 tokens"]
    assert missing_lines(("  one: 7 words",), printed) == ["  one: 7 words"]
