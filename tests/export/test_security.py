"""Nothing that a model or the web wrote acts when a document is made or opened."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pypdf
import pytest

from aigenflow.core.models import Language
from aigenflow.export.docx import foreign_parts
from aigenflow.export.figures import find_image
from aigenflow.export.formats import FORMATS
from aigenflow.export.models import ExportInput
from aigenflow.export.reading import read_document
from aigenflow.export.text import cleaned, defused, safe_address
from tests.export.documents import DATED, SVG, png
from tests.export.payloads import FIGURES, FORMULAS, NUMBERS, PAYLOADS

HARMLESS = re.compile(r"(?:https?://|mailto:|#)")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200f\ufeff]")


def exported(name: str, markdown: str) -> bytes:
    given = ExportInput(
        markdown=f"# T\n\n{markdown}\n",
        title="T",
        language=Language.EN,
        dated=DATED,
        figures=FIGURES,
    )
    return FORMATS[name].export(read_document(given))


class Elements(HTMLParser):
    """Every start tag with its attributes, as a browser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_corpus_is_large() -> None:
    """At least 120 different ones."""
    assert len(set(PAYLOADS)) >= 120


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_acts_in_html(payload: str) -> None:
    """Only harmless elements, attributes and addresses; no control character."""
    page = exported("html", payload).decode()
    body = page.split("<body>")[1]
    for tag, attributes in Elements(body).found:
        assert tag not in {"script", "style", "iframe", "object", "embed", "form", "meta", "base"}
        assert tag not in {"link", "svg", "video", "img", "math", "input", "template", "noscript"}
        assert set(attributes) <= {"id", "class", "href", "rel", "scope", "start"} | {
            "aria-labelledby",
            "aria-label",
        }
        assert HARMLESS.match(attributes.get("href") or "#")
    assert page.count("<script") == 0
    assert not CONTROL.search(page)


def test_nothing_acts_in_docx() -> None:
    """All payloads in one document: no field code, no object, no address but harmless links."""
    data = exported("docx", "\n\n".join(PAYLOADS))
    assert foreign_parts(data) == []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not [name for name in archive.namelist() if "media/" in name or "embed" in name]
        for name in archive.namelist():
            text = archive.read(name).decode("utf-8")
            assert not CONTROL.search(text)
            if name.startswith("word/") and name.endswith(".xml"):
                tags = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(text).iter()}
                if "footer" not in name:
                    assert not tags & {"instrText", "fldSimple", "object", "OLEObject", "altChunk"}


def test_nothing_acts_in_pdf() -> None:
    """All payloads in one document: no script, no file, no address but harmless links."""
    data = exported("pdf", "\n\n".join(PAYLOADS))
    reader = pypdf.PdfReader(io.BytesIO(data))
    for forbidden in (b"/JavaScript", b"/JS", b"/Launch", b"/EmbeddedFile", b"/OpenAction"):
        assert forbidden not in data
    for page in reader.pages:
        for annotation in page.get("/Annots") or []:
            action = annotation.get_object().get("/A", {})
            assert HARMLESS.match(action.get("/URI", "#"))
        assert "root:" not in page.extract_text()


def test_nothing_acts_in_hwpx() -> None:
    """All payloads in one document: text, and harmless links."""
    data = exported("hwpx", "\n\n".join(PAYLOADS))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        section = archive.read("Contents/section0.xml").decode()
    for command in re.findall(r"(?:javascript|vbscript|file|data)\\?:", section, re.IGNORECASE):
        assert f"<hp:stringParam>{command}" not in section
    assert not CONTROL.search(section)


def test_the_policy_of_the_page_allows_nothing_from_elsewhere() -> None:
    """Whatever slips through cannot be fetched or run."""
    head = exported("html", "x").decode().split("</head>")[0]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', head)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert "http" not in policy[1].replace("http-equiv", "")


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_is_no_formula(cell: str) -> None:
    """Copied into a spreadsheet, it is text."""
    assert defused(cell.strip("*`")).startswith("'")


@pytest.mark.parametrize("cell", NUMBERS)
def test_a_number_with_a_sign_stays_as_it_is(cell: str) -> None:
    """An apostrophe would be wrong there."""
    assert defused(cell) == cell


@pytest.mark.parametrize(
    ("address", "is_safe"),
    [
        ("https://a.example/x?y=1#z", True),
        ("mailto:a@b.example", True),
        ("HTTPS://A.example", True),
        ("https:///x", False),
        ("http://a.example:0x", False),
        ("mailto:", False),
        ("javascript:alert(1)", False),
        ("//a.example", False),
        ("figures/x.svg", False),
        ('https://a.example/"x', False),
    ],
)
def test_links_go_to_the_web_or_to_a_mailbox(address: str, is_safe: bool) -> None:
    """Everything else is shown as its text."""
    assert (safe_address(address) is not None) == is_safe


def test_emoji_sequences_and_flags_stay_whole() -> None:
    """Joiners and the tags of a flag are no control characters there."""
    text = "👩‍🔬 🇰🇷 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f e\u0301 가"
    assert cleaned(text) == text


def test_own_figures_are_shown_and_others_are_not() -> None:
    """By their content, not by their name."""
    good = {"figures/a.svg": SVG, "figures/a.png": png(), "figures/b.png": png()}
    found = find_image("figures/a.svg", good)
    assert found is not None
    assert found.png == good["figures/a.png"]
    assert find_image("./figures/b.png", good) is not None
    assert find_image("figures/c.png", good) is None
    assert all(find_image(name, FIGURES) is None for name in FIGURES)


def test_making_a_document_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, in pandoc and in Typst."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for name in FORMATS:
        exported(name, "\n\n".join(PAYLOADS))


def test_making_a_document_works_without_a_network(tmp_path: Path) -> None:
    """In a network namespace of its own, which has not even a loopback."""
    code = (
        "import sys; from tests.export.test_security import exported\n"
        "for name in ('html', 'docx', 'pdf', 'hwpx'):\n"
        "    assert exported(name, 'x ![a](https://evil.example/x.png)')\n"
    )
    command = ["unshare", "--net", "--map-root-user", sys.executable, "-c", code]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    if "unshare" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.returncode == 0, done.stderr
