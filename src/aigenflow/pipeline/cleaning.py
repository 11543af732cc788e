"""Agents' texts without what must not come along: foreign addresses, HTML, hidden characters. Pure.

What an agent wrote may repeat what a web page told it to write. So an address stays only where an
agent returned it as a source, or the user gave it; the words of a link stay, an image goes. What
cannot be told to be harmless is escaped, so that it is text for every reader of Markdown.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from aigenflow.core.evidence import Evidence

LINK_REMOVED = "[link removed]"
"""What other agents hear in place of an address; where one of them copies it, it goes as well."""
MAX_ADDRESS_CHARACTERS = 2_000
_SHOWN_CHARACTERS = 200
_ROUNDS = 8
_GONE = "\x00"  # stands where something was; control characters are removed before


class RemovalKind(StrEnum):
    """What was taken out of a text."""

    LINK = "link"
    IMAGE = "image"
    HTML = "html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One thing taken out: the address of a link or an image, or the name of an HTML element."""

    kind: RemovalKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses that may stay: each one's source number, 0 where the user gave it."""

    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, evidence: Iterable[Evidence], *users_texts: str) -> Addresses:
        """Those of ``evidence`` and those that stand in what the user wrote."""
        own = (match[0] for text in users_texts for match in _ADDRESS.finditer(text))
        numbers = {_comparable(address.rstrip(_TRAILING)): 0 for address in own}
        numbers |= {_comparable(each.url): each.number for each in evidence}
        return cls(numbers=numbers)

    def number_of(self, address: str) -> int | None:
        """The source at ``address``; ``None`` where nobody named it."""
        return self.numbers.get(_comparable(address))


@dataclass(slots=True, kw_only=True)
class _Pass:
    """One run over a text: what may stay, and what was found."""

    allowed: Addresses
    removals: list[Removal]
    labels: set[str] = field(default_factory=set)

    def remove(self, kind: RemovalKind, text: str) -> None:
        self.removals.append(Removal(kind=kind, text=text[:_SHOWN_CHARACTERS]))


def clean_body(
    body: str, evidence: Iterable[Evidence], brief: str
) -> tuple[str, tuple[Removal, ...]]:
    """The text of the document with no address but those of ``evidence`` and ``brief``, no HTML
    and no image from elsewhere, and what was removed, each once.
    """
    return clean_text(body, Addresses.of(evidence, brief))


def clean_text(text: str, allowed: Addresses, gap: str = "") -> tuple[str, tuple[Removal, ...]]:
    """``text`` with nothing but ``allowed`` addresses, no HTML and no hidden characters.

    Words of links stay, followed by ``gap``; everything else that goes leaves ``gap``.
    """
    removals: list[Removal] = []
    text = visible(text)
    for _round in range(_ROUNDS):  # what is left may join to something new
        cleaned = _without_everything(text, _Pass(allowed=allowed, removals=removals), gap)
        if cleaned == text:
            break
        text = cleaned
    else:
        text = _disarmed(text)
    return text, tuple(dict.fromkeys(removals))


def visible(text: str) -> str:
    """``text`` without characters that nobody sees: control, direction, zero width, tags."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_HIDDEN)


def plain_line(text: str, limit: int) -> str:
    """A title or a quotation as one line of at most ``limit`` characters, without any markup.

    Addresses, tags and marks in it are those of a page, never ours.
    """
    line = _TAG.sub(" ", _ADDRESS.sub("", visible(html.unescape(text[: 4 * limit]))))
    line = _OWN_MARK.sub(r"(\1)", line.replace("<", "‹").replace(">", "›"))
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def usable_address(address: str) -> str | None:
    """``address`` as a link that is safe to write down; ``None`` where it is no web page."""
    address = visible(address).strip()
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    safe = quote(address, safe=_SAFE_IN_ADDRESSES)
    return safe if len(safe) <= MAX_ADDRESS_CHARACTERS else None


# ---- the passes --------------------------------------------------------------------------------


def _without_everything(text: str, run: _Pass, gap: str) -> str:
    text = text.replace(LINK_REMOVED, _GONE)
    for step in (_without_blocks, _without_tags, _without_definitions, _without_links):
        text = step(text, run)
    text = _without_addresses(text, run)
    text = _EMPTIED.sub(_GONE, text)
    return _GAP.sub(f" {gap}" if gap else "", text)


def _without_blocks(text: str, run: _Pass) -> str:
    """Without comments and the elements whose content is not for readers."""
    pieces: list[str] = []
    position, unclosed = 0, set[str]()
    while (opening := _BLOCK.search(text, position)) is not None:
        name = (opening["name"] or "").lower()
        end = None
        if name not in unclosed:
            end = _BLOCK_ENDS[name].search(text, opening.end())
        if end is None:  # then there is none further on either
            unclosed.add(name)
            pieces.append(text[position : opening.end()])
            position = opening.end()
            continue
        pieces.extend((text[position : opening.start()], _GONE))
        _report_addresses(text[opening.start() : end.end()], run)
        run.remove(RemovalKind.HTML, name or "comment")
        position = end.end()
    return "".join((*pieces, text[position:]))


def _without_tags(text: str, run: _Pass) -> str:
    def replaced(match: re.Match[str]) -> str:
        address, tag = match["address"], match["tag"]
        if address is not None:
            if run.allowed.number_of(address) is not None:
                return match[0]
            run.remove(RemovalKind.LINK, address)
            return _GONE
        _report_addresses(match[0], run)
        if tag.lower() == "br":
            return " "
        if tag.lower() in _ACTIVE or _ADDRESS.search(match[0]):
            run.remove(RemovalKind.HTML, tag.lower())
        return _GONE if tag.lower() in _ACTIVE else ""

    text = _TAG.sub(replaced, text)
    return _LOOSE_BRACKET.sub(
        lambda m: m[0] if _is_allowed_autolink(m, run.allowed) else "&lt;", text
    )


def _is_allowed_autolink(bracket: re.Match[str], allowed: Addresses) -> bool:
    tag = _TAG.match(bracket.string, bracket.start())
    return bool(tag and tag["address"] and allowed.number_of(tag["address"]) is not None)


def _report_addresses(tag: str, run: _Pass) -> None:
    for match in _ADDRESS.finditer(tag):
        address = match[0].rstrip(_TRAILING)
        if run.allowed.number_of(address) is None:
            run.remove(RemovalKind.LINK, address)


def _without_definitions(text: str, run: _Pass) -> str:
    """Without ``[label]: address`` lines, whose labels are remembered. Footnotes stay."""

    def replaced(match: re.Match[str]) -> str:
        label, address = _label(match["label"]), match["address"].strip("<>")
        is_footnote = label.startswith("^")
        is_allowed = run.allowed.number_of(address) is not None
        if is_allowed and (is_footnote or not label.isdigit()):
            return match[0]
        if not is_allowed and not _is_absolute(address):
            return match[0] if is_footnote else match[0].replace("]:", "]\\:", 1)
        if not is_allowed:
            run.remove(RemovalKind.LINK, address)
        if is_footnote:
            return f"{match['lead']}[{match['label']}]: {_GONE}{match['rest']}"
        run.labels.add(label)
        return match["lead"] + _GONE

    return _DEFINITION.sub(replaced, text)


def _without_links(text: str, run: _Pass) -> str:
    """Without links and images that lead elsewhere; inner brackets are settled first."""
    pieces: list[str] = []
    opened: list[int] = []
    position = 0
    while (bracket := _BRACKET.search(text, position)) is not None:
        pieces.append(text[position : bracket.start()])
        position = bracket.end()
        if bracket[0] != "]":
            opened.append(len(pieces))
            pieces.append(bracket[0])
            continue
        start = opened.pop() if opened else None
        position = _close(text, position, pieces, start, run)
    return "".join((*pieces, text[position:]))


def _close(text: str, position: int, pieces: list[str], start: int | None, run: _Pass) -> int:
    """Settle the bracket that closes before ``position``; return where the text goes on."""
    target = _TARGET.match(text, position)
    label = _LABEL.match(text, position)
    if start is None or not (target or label or run.labels):
        pieces.append("]\\" if text.startswith("(", position) else "]")
        return position
    words = "".join(pieces[start + 1 :])
    name = _label(label[1] or words) if label else _label(words)
    if target is None and name in run.labels and (label or not name.isdigit()):
        end = label.end() if label else position
        _take_out(pieces, start, words, run, address="")
        return end
    if target is None:
        pieces.append("]\\" if text.startswith("(", position) else "]")
        return position
    address = _unescaped(target["quoted"] or target["bare"] or "").strip(_GONE)
    is_image = pieces[start] == "!["
    number = None if is_image else run.allowed.number_of(address)
    if number and words.isdigit():
        pieces[start:] = [f"[{number}]"]
    elif number is not None or (_OWN_FIGURE if is_image else _ANCHOR).fullmatch(address):
        pieces.append("]" + target[0])
    elif is_image or _ADDRESS_LIKE.search(address) or not address:
        _take_out(pieces, start, words, run, address=address)
    else:  # words in parentheses after words in brackets
        pieces.append("]\\")
        return position
    return target.end()


def _take_out(pieces: list[str], start: int, words: str, run: _Pass, *, address: str) -> None:
    """Replace a link by its words; an image, a number or an address as words by nothing."""
    is_image = pieces[start] == "!["
    if address:
        run.remove(RemovalKind.IMAGE if is_image else RemovalKind.LINK, address)
    host = _HOST.search(address)
    is_bare = words.isdigit() or (host is not None and host[1].casefold() in words.casefold())
    pieces[start:] = [_GONE if is_image or is_bare else words + _GONE]


def _without_addresses(text: str, run: _Pass) -> str:
    def replaced(match: re.Match[str]) -> str:
        address = match[0]
        particle = _PARTICLE.search(address)
        tail = particle[0] if particle and particle.start() > len("https://") else ""
        address = address.removesuffix(tail) if tail else address
        while address:
            if run.allowed.number_of(address) is not None:
                return match[0]
            if address[-1] not in _TRAILING:
                break
            address = address[:-1]
        run.remove(RemovalKind.LINK, address)
        return _GONE + match[0][len(address) :]

    return _ADDRESS.sub(replaced, text)


def _disarmed(text: str) -> str:
    """``text`` in which nothing can be a link or a tag, for what never comes to rest."""
    for sign, harmless in (("<", "&lt;"), ("](", "] ("), ("]:", "] :"), ("][", "] ["), ("//", "")):
        text = text.replace(sign, harmless)
    return text


# ---- addresses ---------------------------------------------------------------------------------


def _comparable(address: str) -> str:
    """What two spellings of one address share: no scheme, no fragment, no final slash."""
    address = quote(_unescaped(address).strip(), safe=_SAFE_IN_ADDRESSES)
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "https", address
    if scheme.lower() not in ("http", "https"):
        return address
    host, slash, path = rest.partition("#")[0].partition("/")
    return (host.lower() + slash + path).rstrip("/")


def _unescaped(address: str) -> str:
    return _BACKSLASH.sub(r"\1", html.unescape(address))


def _is_absolute(address: str) -> bool:
    return _SCHEME.match(_unescaped(address).lstrip()) is not None


def _label(text: str) -> str:
    return " ".join(text.casefold().split())


# ---- what things look like ---------------------------------------------------------------------

_HIDDEN: Mapping[int, str | None] = {
    **dict.fromkeys((*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)), None),
    **dict.fromkeys((0xAD, 0x61C, 0x115F, 0x1160, 0x180E, 0x3164, 0xFEFF, 0xFFA0), None),
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)), None),
    **dict.fromkeys((*range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)), None),
    0x2028: "\n",
    0x2029: "\n",
}
_SAFE_IN_ADDRESSES = "%/:?#[]@!$&'()*+,;=~-._"
_TRAILING = ".,;:!?*_~'\")]}”’」』》…·"
_END = r"[^\s<>\"`|\x00]"
_TOP_LEVEL = (
    "com|net|org|io|co|kr|jp|cn|ru|de|eu|uk|us|info|biz|xyz|top|site|online|shop|app|dev|me"
)
_ADDRESS = re.compile(
    rf"(?:[a-z][a-z0-9+.\-]{{1,31}}://|www\.){_END}+"
    rf"|(?:javascript|vbscript):{_END}+|file:/{_END}+|data:[a-z]+/{_END}+"
    rf"|(?<![\w@./-])(?:[a-z0-9-]{{1,63}}\.){{1,5}}(?:{_TOP_LEVEL})/{_END}+",
    re.IGNORECASE,
)
_PARTICLE = re.compile(r"[가-힣]+\Z")
_HOST = re.compile(r"//([^/?#\s]+)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*:|//|/|www\.", re.IGNORECASE)
_ADDRESS_LIKE = re.compile(r"[:/.\\&%#?@]")
_ANCHOR = re.compile(r"#[^\s]{0,200}")
_OWN_FIGURE = re.compile(r"figures/[a-z0-9][a-z0-9_-]{0,63}\.(?:svg|png)")
_OWN_MARK = re.compile(r"\[#?(\d{1,3})\]")
_BACKSLASH = re.compile(r"\\([!-/:-@\[-`{-~])")

_BLOCKS = ("script", "style", "iframe", "object", "svg", "math", "template", "noscript", "textarea")
_BLOCK = re.compile(rf"<(?:!--|(?P<name>{'|'.join(_BLOCKS)})(?=[\s/>]))", re.IGNORECASE)
_BLOCK_ENDS: Mapping[str, re.Pattern[str]] = {
    "": re.compile("-->"),
    **{name: re.compile(rf"</{name}\s{{0,50}}>", re.IGNORECASE) for name in _BLOCKS},
}
_ACTIVE = frozenset(
    {*_BLOCKS, "img", "embed", "link", "meta", "base", "form", "input", "button", "video", "audio"}
)
_TAG = re.compile(
    r"<(?:(?P<address>[a-z][a-z0-9+.\-]{1,31}:[^\s<>]*)"
    r"|[/!?]?(?P<tag>[a-z][a-z0-9]*)(?:[^<>a-z0-9][^<>]{0,2000})?)>",
    re.IGNORECASE,
)
_LOOSE_BRACKET = re.compile(r"<(?=[!-,./:;>-~])")
_DEFINITION = re.compile(
    r"^(?P<lead>[ \t>*+\-\d.)]{0,40})\[(?P<label>(?:\\.|[^\[\]\\]){1,999}+)\]:"
    r"[ \t]{0,50}\n?[ \t>]{0,50}(?P<address><[^<>\n]{0,2000}>|\S+)(?P<rest>[^\n]*)",
    re.MULTILINE,
)
_BRACKET = re.compile(r"!?\[|\]")
_TARGET = re.compile(
    r"\(\s{0,50}+(?:<(?P<quoted>[^<>\n]{0,2000}+)>"
    r"|(?P<bare>(?:\\.|[^\s()\\<]|\((?:\\.|[^\s()\\]){0,500}+\)){0,2000}+))"
    r"(?:\s{1,50}+(?:\"(?:\\.|[^\"\\]){0,500}+\"|'(?:\\.|[^'\\]){0,500}+'|\((?:\\.|[^()\\]){0,500}+\)))?"
    r"\s{0,50}+\)",
    re.DOTALL,
)
_LABEL = re.compile(r"\[((?:\\.|[^\[\]\\]){0,999}+)\]", re.DOTALL)
_EMPTIED = re.compile(rf"[(\[]\s{{0,9}}{_GONE}[\s{_GONE}]{{0,99}}[)\]]")
_GAP = re.compile(rf" ?{_GONE}(?:\s?{_GONE})*")
