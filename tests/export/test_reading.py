"""How Markdown is understood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.models import Language
from aigenflow.export.html import to_html
from aigenflow.export.models import (
    Block,
    Citation,
    Document,
    ExportInput,
    Figure,
    Heading,
    ItemList,
    Link,
    Note,
    Paragraph,
    Style,
    Styled,
    Table,
    Text,
    plain,
)
from aigenflow.export.reading import read_document
from aigenflow.export.widths import column_widths
from tests.export.documents import DATED, FIGURES


def read(markdown: str) -> Document:
    return read_document(
        ExportInput(
            markdown=markdown, title="Topic", language=Language.EN, dated=DATED, figures=FIGURES
        )
    )


def only(markdown: str) -> Block:
    (block,) = read(markdown).blocks
    return block


def test_the_first_heading_is_the_title() -> None:
    """Where it is of the first level; else the topic is."""
    document = read("# Plan\n\n## One\n\n### Two")
    assert plain(document.title) == "Plan"
    assert [b.level for b in document.blocks if isinstance(b, Heading)] == [1, 2]
    assert plain(read("## One").title) == "Topic"


def test_headings_of_the_same_words_have_anchors_of_their_own() -> None:
    """Links of the contents lead to the right one."""
    anchors = [b.anchor for b in read("## A\n\n## A\n\n## !").blocks if isinstance(b, Heading)]
    assert anchors == ["s-a", "s-a-2", "s"]


def test_emphasis_ends_before_a_korean_particle() -> None:
    """Other readers show the asterisks there."""
    block = only('**"인용"**은 **단어(영문)**을')
    assert isinstance(block, Paragraph)
    assert block.children == (
        Styled(Style.STRONG, (Text('"인용"'),)),
        Text("은 "),
        Styled(Style.STRONG, (Text("단어(영문)"),)),
        Text("을"),
    )


def test_a_footnote_goes_on_in_indented_lines() -> None:
    """Its paragraphs stand where its mark is; an unknown mark stays text."""
    block = only("a[^x] b[^y]\n\n[^x]: one\nmore\n\n    two **three**\n")
    assert isinstance(block, Paragraph)
    assert block.children == (
        Text("a"),
        Note(
            (
                Paragraph((Text("one more"),)),
                Paragraph((Text("two "), Styled(Style.STRONG, (Text("three"),)))),
            )
        ),
        Text(" b[^y]"),
    )


def test_a_footnote_may_not_hold_itself() -> None:
    """No endless note."""
    block = only("a[^x]\n\n[^x]: see [^x]\n")
    assert isinstance(block, Paragraph)
    assert block.children[1] == Note((Paragraph((Text("see [^x]"),)),))


def test_marks_lead_to_the_last_list_of_links() -> None:
    """Those without an entry stay text."""
    document = read("x [1] [2] [3]\n\n1. A <https://a.example>\n2. B <https://b.example>\n")
    first, references = document.blocks
    assert isinstance(first, Paragraph)
    assert first.children == (Text("x "), Citation(1), Text(" "), Citation(2), Text(" [3]"))
    assert isinstance(references, ItemList)
    assert references.is_references
    assert read("x [1]\n\n1. plain\n").blocks[0] == Paragraph((Text("x [1]"),))


def test_formulas_in_cells_are_text_and_numbers_are_numbers() -> None:
    """A spreadsheet that gets the table runs nothing."""
    table = only("| a | b |\n|---|--:|\n| =1+1 | -3% |\n| **=A1** | +2 |")
    assert isinstance(table, Table)
    assert [[plain(cell) for cell in row] for row in table.rows] == [
        ["'=1+1", "-3%"],
        ["'=A1", "+2"],
    ]


def test_a_short_paragraph_above_a_table_is_its_caption() -> None:
    """A long one is text."""
    table = "\n\n| a |\n|---|\n| b |\n"
    assert read(f"Table 1.{table}").blocks[0] == Paragraph((Text("Table 1."),), is_caption=True)
    assert read(f"{'word ' * 60}{table}").blocks[0] != Paragraph((Text("x"),), is_caption=True)


def test_an_own_image_is_a_figure_and_another_is_its_description() -> None:
    """Nothing from elsewhere is shown."""
    figure = only("![Revenue](figures/revenue.svg)")
    assert isinstance(figure, Figure)
    assert plain(figure.caption) == "Revenue"
    assert only("![Revenue](https://a.example/x.png)") == Paragraph((Text("Revenue"),))


def test_a_task_has_a_box() -> None:
    """Open and done."""
    tasks = only("- [ ] open\n- [x] done\n- [link](https://a.example)")
    assert isinstance(tasks, ItemList)
    assert tasks.items[0] == (Paragraph((Text("□ open"),)),)
    assert tasks.items[1] == (Paragraph((Text("■ done"),)),)
    assert tasks.items[2] == (Paragraph((Link("https://a.example", (Text("link"),)),)),)


@given(st.lists(st.lists(st.text(max_size=30), min_size=3, max_size=3), min_size=1, max_size=6))
def test_columns_share_the_whole_width(cells: list[list[str]]) -> None:
    """Every column has some of it."""
    widths = column_widths([[(Text(cell),) for cell in row] for row in cells])
    assert abs(sum(widths) - 1) < 1e-9
    assert all(width > 0.03 for width in widths)


@given(st.text(alphabet="ab*_~`[]()!<>#|-:\n\\^ 1.가\"'&;", max_size=200))
def test_any_text_can_be_read_and_shown(text: str) -> None:
    """However odd its markup."""
    assert to_html(read(text)).startswith(b"<!DOCTYPE html>")


def test_columns_of_numbers_stand_at_the_right() -> None:
    """Where the author says nothing; a column with a word in it stays at the left."""
    table = only(
        "| a | b | c | d |\n|---|---|---|:-:|\n| x | −1,234 | 5 kg | 3 |\n| y | — | 6 | 4 |"
    )
    assert isinstance(table, Table)
    assert [each.value for each in table.alignments] == ["left", "right", "left", "center"]


def test_the_numbered_line_below_a_figure_is_its_caption() -> None:
    """Nothing is captioned twice; another paragraph stays one."""
    name = next(iter(FIGURES))
    figure = only(f"![Market]({name})\n\n*Figure 1. Market. Source: a.*")
    assert isinstance(figure, Figure)
    assert plain(figure.caption) == "Figure 1. Market. Source: a."
    assert len(read(f"![Market]({name})\n\nAs it shows.").blocks) == 2
