"""What a document says is the same in every format."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

import docx
import pypdf
import pytest

from aigenflow.core.errors import ConfigError, InputError
from aigenflow.core.models import Language
from aigenflow.export import pdf, reading
from aigenflow.export.docx import foreign_parts
from aigenflow.export.fonts import text_families
from aigenflow.export.formats import FORMATS, check_formats
from aigenflow.export.hwpx import broken_parts
from aigenflow.export.models import ExportInput
from aigenflow.export.pandoc import pandoc_tree
from aigenflow.export.reading import read_document
from tests.export.documents import DATED, source
from tests.export.make_reference import TARGET, make

LANGUAGES = list(Language)
_MARKUP = re.compile(
    r"^\s*(?:#{1,6}|>|[-*+]|\d+\.)\s+|^\s*\|?[\s:|-]+\|?\s*$|```|\*\*|~~|`|<br>"
    r"|(?<!\w)\*|\*(?!\w)|^---$|^\[\^[^\]]+\]:|\[\^[^\]]+\]|\|",
    re.MULTILINE,
)


def words(markdown: str) -> str:
    """The letters and digits of Markdown, without markup."""
    return letters(_MARKUP.sub(" ", without_targets(markdown)))


def without_targets(markdown: str) -> str:
    """Links and images as their text."""
    return re.sub(r"!?\[([^\]^]+)\]\((?:figures/|mailto:)[^)]*\)", r"\1", markdown)


def letters(text: str) -> str:
    """What is read aloud: no spaces, no punctuation, which line ends and hyphens change."""
    return "".join(re.findall(r"\w", text))


def bag(text: str) -> list[str]:
    """The text in pieces that do not depend on the order of footnotes and tables."""
    return sorted(text)


def docx_text(data: bytes) -> str:
    """Every run of body and footnotes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return "".join(
            node.text or ""
            for part in ("word/document.xml", "word/footnotes.xml")
            for node in ElementTree.fromstring(archive.read(part)).iter()
            if node.tag.endswith("}t")
        )


def pdf_text(data: bytes) -> str:
    """The pages without contents, running title and page number."""
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    title = " ".join((pypdf.PdfReader(io.BytesIO(data)).metadata or {})["/Title"].split())
    return "\n".join(
        line
        for page in pages[1:]
        for line in page.extract_text().splitlines()
        if line.strip() != title and not re.fullmatch(r"\s*\d+ / \d+\s*", line)
    )


@pytest.fixture(scope="module", params=LANGUAGES)
def made(request: pytest.FixtureRequest) -> tuple[ExportInput, dict[str, bytes]]:
    """A document, and the same in every format."""
    given = source(request.param)
    document = read_document(given)
    return given, {name: each.export(document) for name, each in FORMATS.items()}


def test_docx_says_what_the_markdown_says(made: tuple[ExportInput, dict[str, bytes]]) -> None:
    """Letter by letter, with footnotes; list numbers are the word processor's."""
    given, files = made
    assert bag(letters(docx_text(files["docx"]))) == bag(words(given.markdown))


@pytest.mark.parametrize(
    ("label", "kept"), [("**Open**", True), ("Open", False), ("**Open** here", False)]
)
def test_a_label_stays_on_the_page_of_its_list(label: str, kept: bool) -> None:
    """A paragraph all in bold is the label of the list below it; any other may stand alone."""
    given = ExportInput(
        markdown=f"# T\n\n{label}\n\n- a\n", title="T", language=Language.EN, dated=DATED
    )
    tree = pandoc_tree(read_document(given), lambda image: image.name)
    assert ("typst:sticky" in tree) is kept


def test_pdf_says_what_the_markdown_says(made: tuple[ExportInput, dict[str, bytes]]) -> None:
    """Every sentence, cell, footnote and reference is found in the pages."""
    given, files = made
    text = letters(pdf_text(files["pdf"]))
    assert [piece for piece in _pieces(given.markdown) if piece not in text] == []
    body = given.markdown.partition("\n")[2]
    assert bag(re.sub(r"\d", "", text)) == bag(re.sub(r"\d", "", words(body)))


def _pieces(markdown: str) -> Iterator[str]:
    """Short runs of words, which no page break and no other column comes between."""
    for line in without_targets(markdown).split("\n"):
        if line.startswith("# "):
            continue
        for piece in re.split(r"[|]|<br>|\[\^?[^\]]+\]:?|(?<=[.:,;!?])\s", line):
            yield from filter(None, (words(part) for part in piece.split()))


def test_html_says_what_the_markdown_says(made: tuple[ExportInput, dict[str, bytes]]) -> None:
    """Every word is in the page, and the page needs nothing else."""
    given, files = made
    page = files["html"].decode()
    text = letters(re.sub(r"<[^>]+>", "", page.split("<main>")[1]).replace("&amp;", "&"))
    assert [piece for piece in _pieces(given.markdown) if piece not in text] == []
    assert f'<html lang="{given.language.value}">' in page
    assert page.count("data:image/") == 2
    assert len(re.findall(r'id="ref-\d+"', page)) == 40
    assert not re.search(r'src="(?!data:)', page)


def test_hwpx_says_what_the_markdown_says(made: tuple[ExportInput, dict[str, bytes]]) -> None:
    """Every word is in it, and it has the parts that Hancom Office asks for."""
    given, files = made
    assert broken_parts(files["hwpx"]) == []
    with zipfile.ZipFile(io.BytesIO(files["hwpx"])) as archive:
        tree = ElementTree.fromstring(archive.read("Contents/section0.xml"))
    text = letters("".join(node.text or "" for node in tree.iter() if node.tag.endswith("}t")))
    assert [piece for piece in _pieces(given.markdown) if piece not in text] == []


def test_docx_is_a_good_word_document(made: tuple[ExportInput, dict[str, bytes]]) -> None:
    """Styles, header rows that repeat, A4, properties; nothing is loaded from elsewhere."""
    given, files = made
    document = docx.Document(io.BytesIO(files["docx"]))
    assert document.core_properties.title
    assert document.core_properties.language.startswith(given.language.value)
    assert document.core_properties.created == DATED
    assert {p.style.name for p in document.paragraphs} >= {"Title", "Heading 1", "Heading 2"}
    assert len(document.inline_shapes) == 2
    assert len(document.tables) == 10
    xml = document.element.xml
    assert xml.count("<w:tblHeader") == 10
    assert round(document.sections[0].page_width.mm) == 210
    assert foreign_parts(files["docx"]) == []


def test_pdf_embeds_its_fonts_and_has_an_outline(
    made: tuple[ExportInput, dict[str, bytes]],
) -> None:
    """It looks the same on every machine."""
    _given, files = made
    reader = pypdf.PdfReader(io.BytesIO(files["pdf"]))
    embedded, other = set(), set()
    for page in reader.pages:
        for font in page["/Resources"].get_object().get("/Font", {}).values():
            for inner in font.get_object().get("/DescendantFonts", [font]):
                descriptor = inner.get_object().get("/FontDescriptor", {})
                has_file = any(key.startswith("/FontFile") for key in descriptor.get_object())
                (embedded if has_file else other).add(inner.get_object()["/BaseFont"])
    assert embedded
    assert not other
    assert len(reader.outline) >= 5
    assert reader.metadata is not None
    assert reader.metadata.title


@pytest.mark.parametrize("name", ["html", "docx", "pdf"])
def test_the_same_document_makes_the_same_bytes(name: str) -> None:
    """Nothing of the machine, the hour or chance is in a file. (HWPX has random ids.)"""
    first, second = (FORMATS[name].export(read_document(source(Language.KO))) for _ in range(2))
    assert first == second


def test_the_shipped_reference_document_is_what_its_script_makes() -> None:
    """``python -m tests.export.make_reference`` after a change."""
    with zipfile.ZipFile(io.BytesIO(make())) as new, zipfile.ZipFile(TARGET) as shipped:
        for part in ("word/styles.xml", "word/document.xml"):
            assert new.read(part) == shipped.read(part)


def test_a_missing_extra_is_said_before_anything_is_bought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the command that installs it."""
    monkeypatch.setattr("aigenflow.export.formats.find_spec", lambda _name: None)
    check_formats(["md", "html"], Language.KO)
    for name, extra in (("docx", "docs"), ("pdf", "docs"), ("hwpx", "hwpx")):
        with pytest.raises(ConfigError) as raised:
            check_formats([name], Language.EN)
        assert f"pip install 'aigenflow[{extra}]'" in raised.value.hint


def test_a_missing_korean_font_is_said_before_anything_is_bought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An English document goes without one, until it has a Korean word in it."""
    monkeypatch.setattr(pdf, "_installed", lambda: frozenset({"DejaVu Sans"}))
    check_formats(["pdf"], Language.EN)
    with pytest.raises(ConfigError, match="Korean") as raised:
        check_formats(["pdf"], Language.KO)
    assert "fonts-noto-cjk" in raised.value.hint
    with pytest.raises(ConfigError, match="Korean"):
        pdf.to_pdf(read_document(source(Language.KO)))


def test_families_are_chosen_by_what_the_text_needs() -> None:
    """Korean first where there is Hangul, and always one that is built in."""
    installed = {"NanumGothic", "Noto Sans"}
    assert text_families(installed, needs_hangul=True)[0] == "NanumGothic"
    assert text_families(installed, needs_hangul=False)[0] == "Noto Sans"
    assert text_families((), needs_hangul=False) == ("Libertinus Serif",)


def test_a_document_too_long_to_export_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how long it is."""
    monkeypatch.setattr(reading, "MAX_CHARACTERS", 10)
    with pytest.raises(InputError, match="at most 10"):
        read_document(source(Language.EN))
