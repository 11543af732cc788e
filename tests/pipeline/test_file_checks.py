"""Exported files are looked at from outside."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest

from aigenflow.pipeline.file_checks import count_pages, look_at

HWPX = {
    "mimetype": b"application/hwp+zip",
    "META-INF/container.xml": b"<container/>",
    "Contents/content.hpf": b"<package/>",
    "Contents/header.xml": b"<head/>",
    "Contents/section0.xml": b"<sec/>",
}
LINK = (
    b'<Relationship Type="http://x/relationships/hyperlink" Target="https://a.example" '
    b'TargetMode="External"/>'
)
IMAGE = LINK.replace(b"hyperlink", b"image")


def archive(members: Mapping[str, bytes], *, stored: bool = True) -> bytes:
    """A ZIP file; its first member is stored as it is, or not."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for number, (name, data) in enumerate(members.items()):
            kind = zipfile.ZIP_STORED if stored and not number else zipfile.ZIP_DEFLATED
            made.writestr(name, data, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "sound"),
    [
        ("a.docx", archive({"word/document.xml": b"<w/>"}), True),
        ("a.docx", archive({"word/document.xml": b"", "word/_rels/d.rels": LINK}), True),
        ("a.docx", archive({"word/document.xml": b"", "word/_rels/d.rels": IMAGE}), False),
        ("a.docx", archive({"other.xml": b""}), False),
        ("a.docx", b"no archive", False),
        ("a.hwpx", archive(HWPX), True),
        ("a.hwpx", archive(HWPX, stored=False), False),
        ("a.hwpx", archive({k: v for k, v in HWPX.items() if "header" not in k}), False),
        ("a.hwpx", archive(dict(reversed(HWPX.items()))), False),
        ("a.hwpx", b"", False),
        ("a.html", b"<p><a href='https://a.example'>x</a><img src='figures/a.svg'></p>", True),
        ("a.html", b"<img src='https://a.example/x.png'>", False),
        ("a.pdf", b"%PDF-1.7\n%%EOF", True),
        ("a.pdf", b"text", False),
    ],
)
def test_a_file_is_sound_or_not(name: str, data: bytes, sound: bool) -> None:
    """Each format has what it needs and points nowhere else."""
    [fact] = look_at({name: data}, "")
    assert (not fact.problems) is sound


def test_a_file_that_was_not_made_is_a_problem() -> None:
    """A format that failed counts, with its reason; other files are not looked at."""
    facts = look_at({"facts.yaml": b""}, "", {"hwpx": "no skeleton"})
    assert [(fact.name, fact.problems) for fact in facts] == [("hwpx", ("no skeleton",))]


def test_pages_are_counted_in_the_pdf_alone() -> None:
    """Without a PDF, or with one that cannot be read, the pages are not known."""
    assert count_pages({"a.html": b""}) is None
    assert count_pages({"a.pdf": b"text"}) is None


@pytest.mark.parametrize(
    ("name", "data", "lost"),
    [
        ("a.html", b"<h1>Plan</h1><p>We <b>sell</b> 40&nbsp;crates.</p>", False),
        ("a.html", b"<h1>Plan</h1><p>We sell 41 crates.</p>", True),
        (
            "a.docx",
            archive(
                {"word/document.xml": b"<w:t>Plan</w:t><w:t xml:space='p'>We sell </w:t><w:t>40"
                                      b" crates.</w:t>"}
            ),
            False,
        ),
        ("a.docx", archive({"word/document.xml": b"<w:t>Plan</w:t>"}), True),
        (
            "a.hwpx",
            archive(HWPX | {"Contents/section0.xml": b"<hp:t>Plan</hp:t><hp:t>We sell 40"
                                                     b"<hp:tab/> crates.</hp:t>"}),
            False,
        ),
        ("a.hwpx", archive(HWPX | {"Contents/section0.xml": b"<hp:t>We sell</hp:t>"}), True),
    ],
)  # fmt: skip
def test_a_file_has_all_the_words(name: str, data: bytes, lost: bool) -> None:
    """However a format sets spaces, styles and quotation marks; what is missing is quoted."""
    [fact] = look_at({name: data}, "# Plan\n\nWe *sell* 40 crates.\n")
    assert any("not in it" in problem for problem in fact.problems) is lost
