from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from aigenflow.core.evidence import Evidence
from aigenflow.pipeline.cleaning import (
    LINK_REMOVED,
    Addresses,
    Removal,
    RemovalKind,
    clean_body,
    clean_text,
    plain_line,
    usable_address,
    visible,
)

OURS = "https://ok.example/report"
EVIDENCE = (
    Evidence(id="e1", number=1, url="https://first.example"),
    Evidence(id="e2", number=2, url=OURS),
)


def cleaned(text: str, brief: str = "") -> str:
    return clean_body(text, EVIDENCE, brief)[0]


def removed(text: str) -> list[str]:
    return [removal.text for removal in clean_body(text, EVIDENCE, "")[1]]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see https://evil.example/x for more", "see for more"),
        ("see (https://evil.example).", "see."),
        ("자료는 https://evil.example에서 볼 수 있다.", "자료는에서 볼 수 있다."),
        ("a [word](https://evil.example) b", "a word b"),
        ('a [word](https://evil.example "title") b', "a word b"),
        ("a [word](<https://evil.example>) b", "a word b"),
        ("a [word](java\\script:alert(1)) b", "a word b"),
        ("a [word](&#106;avascript:alert(1)) b", "a word b"),
        ("a [word](../../etc/passwd) b", "a word b"),
        ("a [1](https://evil.example) b", "a b"),
        ("a [evil.example](https://evil.example/x) b", "a b"),
        ("a [link removed] b", "a b"),
        ("a ![alt](https://evil.example/p.png) b", "a b"),
        ("a [![alt](https://evil.example/p.png)](https://evil.example) b", "a b"),
        ("a [word][1x] b\n\n[1x]: https://evil.example 'title'", "a word b\n\n"),
        ("a [word] b\n\n[word]: https://evil.example", "a word b\n\n"),
        ("a ![word][] b\n\n[word]: //evil.example/p.png", "a b\n\n"),
        ("a [1] b\n\n[1]: https://evil.example", "a [1] b\n\n"),
        ("a <https://evil.example> b", "a b"),
        ('a <a href="https://evil.example">word</a> b', "a word b"),
        ("a <img src=x onerror=alert(1)> b", "a b"),
        ("a <script>alert(1)</script> b", "a b"),
        ("a <!-- hidden --> b", "a b"),
        ("a www.evil.example, evil.com/login b", "a, b"),
        ("a data:text/html;base64,PHNjcmlwdD4= b", "a b"),
        ("CO<sub>2</sub> and x<br>y", "CO2 and x y"),
    ],
)
def test_what_nobody_named_goes_and_the_words_stay(text: str, left: str) -> None:
    """Every way to write an address, an image or HTML in Markdown leaves plain words."""
    assert cleaned(text) == left


@pytest.mark.parametrize(
    "text",
    [
        f"see {OURS}.",
        f"see <{OURS}>",
        f"see [report]({OURS})",
        f'see [report]({OURS} "title")',
        f"see [report][r]\n\n[r]: {OURS}",
        "보고서는 https://ok.example/report에 있다.",
        "see http://OK.example/report/#part",
        "in [Risks](#risks)",
        "![Revenue](figures/revenue.svg)",
        "a [3] b [#4] c[^1]\n\n[^1]: A footnote.",
        "n < 30, a <= b, p<0.05, x <- y, <표 1>, < 추진 일정 >",
        "Node.js/React, and/or, 3.5/4.0, 24/7",
        "| a | b |\n| --- | --- |\n| **1** | `x` |",
    ],
)
def test_what_may_stay_is_untouched(text: str) -> None:
    """Sources, marks, footnotes, anchors, own figures and ordinary signs are left as they are."""
    assert clean_body(text, EVIDENCE, "") == (text, ())


def test_what_the_user_named_may_stay() -> None:
    """An address of the brief is the user's own."""
    assert cleaned("at https://us.example.", "our site: https://us.example") == (
        "at https://us.example."
    )
    assert cleaned("at https://us.example.") == "at."


def test_a_linked_number_becomes_the_mark_of_that_source() -> None:
    """An agent that links its citations cites the same source."""
    assert cleaned(f"it grows [7]({OURS})") == "it grows [2]"


def test_words_in_parentheses_behind_a_mark_are_no_link() -> None:
    """What Markdown would take for a link is escaped, so that the mark stays."""
    assert cleaned("20% [가정](합계)") == "20% [가정]\\(합계)"
    assert cleaned("20% [가정](연간 기준)") == "20% [가정]\\(연간 기준)"


def test_what_was_removed_is_reported_once() -> None:
    """Links and images by address, HTML by the name of the element."""
    text = "[a](https://x.example) [b](https://x.example) ![c](https://y.example/p.png) "
    text += "<script></script>"
    assert set(clean_body(text, EVIDENCE, "")[1]) == {
        Removal(kind=RemovalKind.LINK, text="https://x.example"),
        Removal(kind=RemovalKind.IMAGE, text="https://y.example/p.png"),
        Removal(kind=RemovalKind.HTML, text="script"),
    }
    assert removed('<a href="https://z.example">a</a>')[0] == "https://z.example"


def test_colleagues_hear_that_something_was_there() -> None:
    """In a text that another agent reads, a gap is marked."""
    allowed = Addresses.of(EVIDENCE)
    text, _removals = clean_text("see [a](https://x.example)!", allowed, gap=LINK_REMOVED)
    assert text == "see a [link removed]!"


def test_pieces_do_not_join_to_something_new() -> None:
    """What is left after a removal is looked at again."""
    assert "<script" not in cleaned("<scr<b></b>ipt>alert(1)</scr<b></b>ipt>")
    assert "javascript" not in cleaned("[x]<http://evil.example>(javascript:alert(1))")
    assert "evil" not in cleaned("ht[](http://evil.example)tps://evil.example")
    assert "evil" not in cleaned("ht\u200btps://ev\u202eil.example")


def test_hidden_characters_go() -> None:
    """Controls, directions, zero widths and tag characters are nowhere to be seen."""
    assert visible("a\u202eb\u200bc\u2066d\x1be\x9bf\U000e0041g\ufeffh\r\ni\tj") == "abcdefgh\ni\tj"


HIDDEN_BUT_LEGAL = "가나다 ①②③ ㎡ ㈜ émigré 😀"


def test_ordinary_characters_stay() -> None:
    """Hangul, signs and accents are text."""
    assert visible(HIDDEN_BUT_LEGAL) == HIDDEN_BUT_LEGAL


def test_a_title_is_one_plain_line() -> None:
    """Addresses, tags and marks of a page's title are not ours."""
    assert plain_line("A <b>fine</b>\nreport [3] https://x.example", 80) == "A fine report (3)"
    assert plain_line("word " * 50, 20) == "word word word word…"


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://x.example",
        "https://",
        "https://good.example@evil.example/",
        "https://[broken",
        "/etc/passwd",
        "",
        "https://x.example/" + "a" * 3000,
    ],
)
def test_what_is_no_web_page_is_no_source(address: str) -> None:
    """Only an http or https address with a host, and without a user name, is one."""
    assert usable_address(address) is None


def test_an_address_cannot_leave_its_brackets() -> None:
    """Signs that end an autolink are escaped."""
    assert usable_address(' https://x.example/a b>"<i> ') == "https://x.example/a%20b%3E%22%3Ci%3E"


PIECES = st.sampled_from(
    [
        *("[", "]", "(", ")", "<", ">", "!", "\\", "`", "\n", "\n\n", " ", ":", "&", ";", "#", '"'),
        *(
            "https://evil.example/x",
            "javascript:alert(1)",
            "//evil.example",
            OURS,
            "www.evil.example",
        ),
        *(
            "[a]",
            "[a](",
            "](",
            "[a]: ",
            "![",
            "[1]",
            "<a href=",
            "<img src=",
            "<script>",
            "</script>",
        ),
        *(
            "<!--",
            "-->",
            "&lt;",
            "&#58;",
            "\\(",
            "> ",
            "- ",
            "| ",
            "word",
            "<b>",
            "<br>",
            "%20",
            "'",
        ),
        *("ht", "tps:", "//", "\u200b", "\x00", "^", "[^1]: ", "evil.com/x"),
    ]
)


RELATIVE = re.compile(r"(?![a-z][a-z0-9+.\-]*:|/|www\.).*", re.IGNORECASE | re.DOTALL)


@given(st.lists(PIECES, max_size=25).map("".join))
def test_no_reader_of_markdown_finds_anything_that_leads_elsewhere(text: str) -> None:
    """Whatever the pieces: parsed as Markdown with HTML, only our own address is left."""
    result = cleaned(text)
    for token in _all_tokens(MarkdownIt("commonmark", {"html": True}).parse(result)):
        assert token.type not in ("html_block", "html_inline"), (text, result)
        target = token.attrs.get("href") or token.attrs.get("src")
        assert target is None or target == OURS or RELATIVE.fullmatch(str(target)), (text, result)


@given(st.lists(PIECES, max_size=25).map("".join))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    """The cleaned text is clean."""
    once = cleaned(text)
    assert cleaned(once) == once


def _all_tokens(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *_all_tokens(token.children or []))]
