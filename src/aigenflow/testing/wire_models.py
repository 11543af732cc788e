"""The nouns of the wire-format server: what was asked, what is answered, how it is framed.

One request travels as :class:`Received` -> :class:`Ask` -> :class:`Answer` -> JSON or events. The
first and the last are a provider's own form (a :class:`WireFormat`), the two between are neutral.
Tokens are counted as ``ceil(utf8_bytes / 4)``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pydantic import ValidationError

from aigenflow.core.models import Backend, Json

BYTES_PER_TOKEN = 4
_ID_ALPHABET = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Finish(StrEnum):
    """Why the answer ends; each format writes it in its own words, or in its nearest word."""

    COMPLETE = "complete"
    LENGTH = "length"
    CONTEXT_WINDOW = "context_window"
    STOP_SEQUENCE = "stop_sequence"
    REFUSAL = "refusal"
    SAFETY = "safety"
    RECITATION = "recitation"
    BLOCKED = "blocked"
    PAUSE_TURN = "pause_turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as it arrived. ``headers`` have lower-case names; ``path`` has no prefix.

    ``api_version`` is the version segment of the URL (``v1``, ``v1beta``) or empty; ``sha256``
    is that of the body's bytes.
    """

    backend: Backend
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Json]
    sha256: str
    api_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of the prompt in the order the model reads it.

    ``cache_ttl_s`` is set on an Anthropic cache breakpoint: the prefix ends after this part.
    """

    text: str
    cache_ttl_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One valid request for an answer, in neutral form.

    ``instruction`` is the last text of the last user message. ``tier`` is the service tier asked
    for. ``reports_usage`` is false only for a chat stream that did not ask for counts.
    """

    backend: Backend
    model: str
    received: Received
    parts: tuple[Part, ...]
    instruction: str
    stream: bool = False
    max_output_tokens: int | None = None
    web_search: bool = False
    thinks: bool = False
    tier: str = "standard"
    reports_usage: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Tokens of one call; ``input_tokens`` and ``output_tokens`` are totals with their parts.

    ``input_tokens`` contains cached and cache-write tokens but not ``tool_prompt_tokens`` (what a
    search puts into the prompt); ``output_tokens`` contains ``reasoning_tokens``.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    tool_prompt_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    search_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One page that the search found. ``date`` is ``YYYY-MM-DD``."""

    url: str
    title: str
    snippet: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of text and the source it rests on: a 0-based index into the sources, or ``None``."""

    text: str
    source: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says, before it takes a provider's form.

    ``counts`` is what is billed; ``usage`` is what is reported, ``None`` for nothing.
    ``seed`` (hex) makes the ids. ``chunks`` is the number of text events of a stream.
    ``verbatim`` text is never given citation marks. ``created`` is seconds since 1970.
    """

    ask: Ask
    model: str
    seed: str
    segments: tuple[Segment, ...]
    counts: Counts
    usage: Counts | None
    sources: tuple[Source, ...] = ()
    thinking: str = ""
    finish: Finish = Finish.COMPLETE
    verbatim: bool = False
    chunks: int = 1
    created: int = 0

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def query(self) -> str:
        """What the model searched for."""
        return " ".join(self.ask.instruction.split())[:80]

    @property
    def incomplete(self) -> bool:
        return self.finish in (Finish.LENGTH, Finish.CONTEXT_WINDOW, Finish.PAUSE_TURN)

    def make_id(self, prefix: str, length: int = 24) -> str:
        """An id in the provider's style: ``prefix`` and ``length`` letters and digits."""
        number = int(hashlib.sha256(f"{prefix}|{self.seed}".encode()).hexdigest(), 16)
        letters = []
        for _ in range(length):
            number, digit = divmod(number, len(_ID_ALPHABET))
            letters.append(_ID_ALPHABET[digit])
        return prefix + "".join(letters)

    def hex_id(self, prefix: str, length: int = 48) -> str:
        """An id of hex digits, as OpenAI makes them."""
        return prefix + hashlib.sha256(f"{prefix}|{self.seed}".encode()).hexdigest()[:length]


@dataclass(frozen=True, slots=True, kw_only=True)
class SseEvent:
    """One server-sent event.

    ``text`` is the part of the answer it carries, for counting what a broken stream has already
    cost. ``terminal`` marks the events that say that the answer is whole.
    """

    data: Mapping[str, Json] | str
    name: str | None = None
    text: str = ""
    terminal: bool = False

    def encode(self, newline: str = "\n") -> bytes:
        head = "" if self.name is None else f"event: {self.name}{newline}"
        body = self.data if isinstance(self.data, str) else dump(self.data)
        return f"{head}data: {body}{newline}{newline}".encode()


class Rejection(Exception):  # noqa: N818 - it is a normal answer of a provider, not a fault of ours
    """The request is refused with ``status``, as the provider would refuse it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


class WireFormat(Protocol):
    """A provider's way of writing requests, answers, events and errors."""

    newline: str
    ping: bytes

    def check_key(self, received: Received) -> str:
        """The API key of the request. Raises ``Rejection`` (401, 400)."""
        ...

    def read(self, received: Received) -> Ask:
        """The request in neutral form. Raises ``Rejection`` (400, 404) as the provider would."""
        ...

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer as one JSON object."""
        ...

    def events(self, answer: Answer) -> list[SseEvent]:
        """The answer as a stream."""
        ...

    def without_content(self, body: dict[str, Json]) -> None:
        """Set the text of a ``whole`` answer to null, in place."""
        ...

    def error(self, status: int, message: str) -> dict[str, Json]:
        """The body of an error response."""
        ...

    def error_event(self, sequence: int) -> SseEvent:
        """The provider breaking off in the middle of a stream, after ``sequence`` events."""
        ...


def dump(value: Json) -> str:
    """JSON as the providers write it: compact, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tokens_of(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def bearer_of(received: Received) -> str:
    """The token of ``Authorization: Bearer``, or an empty string."""
    scheme, _, token = received.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def pieces_of(text: str, count: int) -> list[str]:
    """``text`` in at most ``count`` pieces of about equal length; none is empty."""
    if not text:
        return []
    size = max(1, -(-len(text) // max(1, count)))
    return [text[at : at + size] for at in range(0, len(text), size)]


def render(
    answer: Answer, mark: Callable[[int], str]
) -> tuple[str, tuple[tuple[int, int, int], ...]]:
    """The whole text with ``mark(source)`` after each cited segment, and the cited spans.

    A span is ``(start, end, source)`` in characters; with a mark it covers the mark, without one
    the segment.
    """
    text = ""
    spans = []
    for segment in answer.segments:
        start = len(text)
        text += segment.text
        if segment.source is None:
            continue
        note = "" if answer.verbatim else mark(segment.source)
        spans.append((len(text) if note else start, len(text) + len(note), segment.source))
        text += note
    return text, tuple(spans)


def source_at(sources: Sequence[Source], index: int) -> Source:
    """The source a citation names; one out of range names a page that was never found."""
    if index < len(sources):
        return sources[index]
    url = f"https://example.com/never-found/{index + 1}"
    return Source(url=url, title=f"Source {index + 1}", snippet="", date="")


def first_problem(error: ValidationError) -> tuple[str, str, str]:
    """Where (``messages.0.role``), what kind and what message: the first finding of pydantic."""
    finding = error.errors(include_url=False)[0]
    return ".".join(str(step) for step in finding["loc"]), finding["type"], finding["msg"]
