"""The Markdown that documents are written in: CommonMark with tables, ~~struck~~ and footnotes.

Raw HTML is off: it stays the text that it is. Emphasis also ends before a Korean particle
(``**"인용"**은``), where CommonMark waits for a space.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token

FOOTNOTES = "footnotes"
"""Where the parser's ``env`` has the texts of footnotes, by label."""

_MAX_NESTING = 60
_DEFINITION = re.compile(r"\[\^([^\]\s]{1,64})\]:[ \t]*")
_REFERENCE = re.compile(r"\[\^([^\]\s]{1,64})\]")
_CJK = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7a3]")


def make_parser() -> MarkdownIt:
    """A parser whose tokens include ``footnote`` (``content`` is the label)."""
    md = _Markdown("commonmark", {"html": False, "maxNesting": _MAX_NESTING})
    md.enable(["table", "strikethrough"])
    md.inline = _Inline()
    md.inline.ruler.enable("strikethrough")
    md.inline.ruler2.enable("strikethrough")
    md.block.ruler.before("reference", FOOTNOTES, _read_definition, {"alt": ["paragraph"]})
    md.inline.ruler.before("link", "footnote", _read_reference)
    return md


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802
        """Every address is judged by the reader, which keeps the text of those it refuses."""
        return True

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802
        """An address is shown as it is."""
        return link


class _State(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: N802, N803
        scanned = super().scanDelims(start, canSplitWord)
        if not canSplitWord:
            return scanned
        before = self.src[start - 1 : start] or " "
        end = start + scanned.length
        after = self.src[end : end + 1] if end < self.posMax else " "
        return Scanned(
            scanned.can_open or bool(_CJK.match(before) and not after.isspace()),
            scanned.can_close or bool(_CJK.match(after) and not before.isspace()),
            scanned.length,
        )


class _Inline(ParserInline):
    def parse(
        self, src: str, md: MarkdownIt, env: MutableMapping[str, Any], tokens: list[Token]
    ) -> list[Token]:
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]


def _read_definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """``[^label]: text``, with the lines that follow it and paragraphs indented by four."""
    match = _DEFINITION.match(_line(state, start))
    if match is None or state.level or state.is_code_block(start):
        return False
    if silent:
        return True
    after = start + 1
    while after < end and _continues(state, after):
        after += 1
    first, *rest = state.getLines(start, after, 0, False).lstrip().split("\n")
    lines = [first[match.end() :], *(re.sub(r"^(?: {1,4}|\t)", "", line) for line in rest)]
    state.env.setdefault(FOOTNOTES, {}).setdefault(match[1], "\n".join(lines).strip())
    state.line = after
    return True


def _continues(state: StateBlock, number: int) -> bool:
    if state.isEmpty(number):
        following = number + 1
        return (
            following < state.lineMax
            and not state.isEmpty(following)
            and state.sCount[following] >= 4
        )
    return state.sCount[number] >= 4 or not (
        state.isEmpty(number - 1) or _DEFINITION.match(_line(state, number))
    )


def _read_reference(state: StateInline, silent: bool) -> bool:
    match = _REFERENCE.match(state.src, state.pos, state.posMax)
    if match is None or match[1] not in state.env.get(FOOTNOTES, {}):
        return False
    if not silent:
        state.push("footnote", "", 0).content = match[1]
    state.pos = match.end()
    return True
