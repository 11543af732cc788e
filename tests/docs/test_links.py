"""Links lead somewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, links, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_of_a_page_resolves(page: Path) -> None:
    """To a file that is there, and to a heading in it where one is named."""
    text = page.read_text("utf-8")
    for link in links(text):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.exists(), link
        if parts.fragment:
            assert unquote(parts.fragment) in anchors(target.read_text("utf-8")), link


def test_pages_of_the_site_do_not_link_out_of_it() -> None:
    """The built site has the files below ``docs`` only."""
    for page in DOCS.rglob("*.md"):
        for link in links(page.read_text("utf-8")):
            if not urlsplit(link).scheme:
                path = urlsplit(link).path
                assert (page.parent / unquote(path)).resolve().is_relative_to(DOCS), (page, link)


def test_every_page_is_in_the_navigation() -> None:
    """Nobody has to guess an address; examples of briefs are linked from their guide."""
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    named = [page.relative_to(DOCS) for page in DOCS.rglob("*.md")]
    assert [p for p in named if str(p) not in navigation and p.parts[0] != "examples"] == []
