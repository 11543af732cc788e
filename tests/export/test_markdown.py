from __future__ import annotations

from datetime import date

from aigenflow.core.models import Citation, Language
from aigenflow.export.markdown import DocumentParts, Reference, assemble, headings, unfenced

SOURCE = Citation(url="https://a.example/x", title="A [draft]\nreport", date="2026")
LISTED = Reference(number=1, citation=SOURCE, accessed=date(2026, 11, 22))


def parts(body: str, **changes: object) -> DocumentParts:
    values: dict[str, object] = {
        "title": "Plan",
        "body": body,
        "references": [],
        "statement": "",
        "language": Language.EN,
    }
    return DocumentParts(**{**values, **changes})  # type: ignore[arg-type]


def test_a_body_without_a_title_gets_one() -> None:
    """The document starts with exactly one first-level heading."""
    assert assemble(parts("text")) == "# Plan\n\ntext\n"
    assert assemble(parts("# Own title\n\ntext")) == "# Own title\n\ntext\n"


def test_references_are_listed_with_number_title_date_and_address() -> None:
    """Titles from the web cannot break the list."""
    text = assemble(parts("x [1]", references=[LISTED]))
    assert text.endswith(
        "## References\n\n1. A (draft) report, 2026. <https://a.example/x> (accessed 2026-11-22)\n"
    )


def test_the_day_of_access_is_in_the_documents_language() -> None:
    """A Korean list of references says so in Korean."""
    text = assemble(parts("x [1]", references=[LISTED], language=Language.KO))
    assert text.endswith("<https://a.example/x> (열람일 2026-11-22)\n")


def test_references_go_below_the_documents_own_heading_for_them() -> None:
    """A template that ends with a section for sources gets no second one."""
    body = "## One\n\nx [1]\n\n## 13. Sources\n"
    text = assemble(parts(body, references=[LISTED], references_heading="13. Sources"))
    assert "## References" not in text
    assert text.index("13. Sources") < text.index("1. A (draft)")


def test_the_statement_stands_at_the_end_in_the_documents_language() -> None:
    """How the text was made is said where a reader looks for it."""
    text = assemble(parts("x", statement="AI로 작성됨.", language=Language.KO))
    assert text.endswith("**이 문서에 대하여.** AI로 작성됨.\n")


def test_a_fence_around_the_whole_answer_goes_and_inner_ones_stay() -> None:
    """Models that wrap the document in a code block do not spoil it."""
    assert unfenced("```markdown\n# A\n\ntext\n```") == "# A\n\ntext"
    inner = "# A\n\n```\ncode\n```\n"
    assert unfenced(inner) == inner
    two = "```\na\n```\ntext\n```\nb\n```"
    assert unfenced(two) == two


def test_headings_in_code_are_not_headings() -> None:
    """A comment in a shell example is not a section."""
    assert headings("# A\n```\n# not\n```\n## B ") == ("A", "B")
