"""The nouns every layer shares.

Frozen dataclasses inside, pydantic where bytes enter. Tokens are counted, money is in US dollars
(``Decimal``), durations are in seconds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Json: TypeAlias = Any
"""A value that JSON can hold: ``None``, bool, int, float, str, or lists and dicts of them."""


class AgentType(StrEnum):
    """A role in the team. How the role is reached is configuration."""

    CLAUDE = "claude"
    CHATGPT = "chatgpt"
    GEMINI = "gemini"
    PERPLEXITY = "perplexity"


class Backend(StrEnum):
    """A way of reaching a model: one adapter each."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GEMINI = "gemini"
    PERPLEXITY = "perplexity"
    COMPATIBLE = "compatible"
    OFFLINE = "offline"


class Language(StrEnum):
    """The language a document is written in."""

    KO = "ko"
    EN = "en"

    @classmethod
    def of(cls, text: str) -> Language:
        """The language of a topic or question: Korean where it has Hangul, composed or not."""
        composed = unicodedata.normalize("NFC", text)
        return cls.KO if any("가" <= character <= "힣" for character in composed) else cls.EN


FormatName = Literal["md", "html", "docx", "pdf", "hwpx"]
"""A format of the finished document, by its file suffix."""


class DocumentType(StrEnum):
    """What is written: a business plan, or a research and development proposal."""

    BIZPLAN = "bizplan"
    RD = "rd"


class FinishReason(StrEnum):
    """Why the model stopped.

    Only ``COMPLETE`` is a whole answer; everything else is never cached and never passed on as
    complete.
    """

    COMPLETE = "complete"
    LENGTH = "length"
    REFUSAL = "refusal"
    FILTERED = "filtered"
    EMPTY = "empty"
    PAUSED = "paused"
    UNKNOWN = "unknown"


class ServedFrom(StrEnum):
    """Where an answer came from, which decides what it cost."""

    LIVE = "live"
    FLEX = "flex"
    BATCH = "batch"
    PRIORITY = "priority"
    CACHE = "cache"


class Processing(StrEnum):
    """At what rate, and how fast, an answer is bought."""

    LIVE = "live"
    FLEX = "flex"
    BATCH = "batch"


class ProcessingChoice(StrEnum):
    """How a whole run is bought: one way for all, or the cheapest that meets the deadline."""

    LIVE = "live"
    FLEX = "flex"
    BATCH = "batch"
    AUTO = "auto"


class ContextKind(StrEnum):
    """What a context document is, so that nobody has to guess from its title."""

    ASSIGNMENT = "assignment"
    BRIEF = "brief"
    RESULT = "result"
    SOURCES = "sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextDocument:
    """One text an agent hears beside its instruction. It is data, never an instruction.

    ``id`` is unique within a request (``"phase1.brainstorm"``); ``text`` is verbatim.
    """

    id: str
    title: str
    text: str
    kind: ContextKind = ContextKind.RESULT


_NO_OPTIONS: Mapping[str, Json] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """One question to one role.

    Everything here can change the answer, so everything here is part of the cache key, except
    what only says for whom and how it is bought (see :data:`FIELDS_THAT_CANNOT_MATTER`).

    ``answer_so_far`` holds the text of an answer that was cut at its length limit: the model is
    asked to go on from there. ``options`` is passed through to the provider's request body.
    ``processing`` is how the answer is to be bought; from ``complete_by`` on (aware, wall time) a
    discounted way that has not brought it is given up for the live one.
    """

    agent: AgentType
    phase: int
    task: str
    prompt: str
    context: tuple[ContextDocument, ...] = ()
    system: str = ""
    max_output_tokens: int = 4096
    web_search: bool = False
    language: Language = Language.EN
    options: Mapping[str, Json] = field(default_factory=lambda: _NO_OPTIONS)
    answer_so_far: str = ""
    session: str = ""
    processing: Processing = Processing.LIVE
    complete_by: datetime | None = None


FIELDS_THAT_CANNOT_MATTER = frozenset({"session", "processing", "complete_by"})
"""Request fields that never change an answer: the only ones a key may leave out."""


def what_matters(request: AgentRequest) -> dict[str, Any]:
    """Every field of ``request`` that can change the answer, by name."""
    return {
        each.name: getattr(request, each.name)
        for each in fields(request)
        if each.name not in FIELDS_THAT_CANNOT_MATTER
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How one role is reached in this run.

    ``agent`` is the role; ``actor`` is the agent whose settings serve it, the same one unless a
    key is missing or an agent is down. ``context_window_tokens`` counts input and output together.
    """

    agent: AgentType
    actor: AgentType
    backend: Backend
    model: str
    base_url: str | None = None
    context_window_tokens: int = 128_000
    options: Mapping[str, Json] = field(default_factory=lambda: _NO_OPTIONS)


class Citation(BaseModel):
    """One source an agent named. ``date`` is as the provider wrote it."""

    model_config = ConfigDict(frozen=True)

    url: str
    title: str = ""
    quote: str = ""
    date: str = ""
    agent: AgentType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """What a call used.

    ``input`` contains ``cached_input`` and ``cache_write``, which contains ``cache_write_1h``;
    ``output`` contains ``reasoning``.
    """

    input: int
    output: int
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    searches: int = 0


class GatewayResponse(BaseModel):
    """One answer, in the one normal form of all providers.

    Token counts: ``input_tokens`` is the total sent, including ``cached_input_tokens`` (read from
    the provider's prompt cache) and ``cache_write_tokens``; ``output_tokens`` is the total
    produced, including ``reasoning_tokens``; ``tokens_used`` is their sum. ``usage_reported`` is
    false where the provider sent no counts, which is not the same as zero.

    ``content`` carries its citations as ``[n]``; ``n`` counts ``citations`` from 1.
    ``estimated_cost`` is in US dollars, ``None`` where unknown. ``reported_cost`` is what the
    provider itself says it charged (Perplexity), search fees included. ``latency_s`` is in
    seconds. ``raw`` is the provider's JSON as received.

    An answer that took several calls (a paused turn, one gone on with) has their sums; ``calls``
    then holds each one's own counts, because each is priced by itself. ``call_ids`` name the rows
    of the ledger that paid for it; whoever has it from a cache paid for nothing.
    """

    model_config = ConfigDict(frozen=True)

    content: str
    success: bool = True
    tokens_used: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated_cost: Decimal | None = None
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    search_calls: int = 0
    usage_reported: bool = True
    reported_cost: Decimal | None = None
    model: str = ""
    backend: Backend | None = None
    agent: AgentType | None = None
    finish_reason: FinishReason = FinishReason.COMPLETE
    citations: tuple[Citation, ...] = ()
    latency_s: float = 0.0
    served_from: ServedFrom = ServedFrom.LIVE
    response_id: str = ""
    calls: tuple[TokenCounts, ...] = ()
    call_ids: tuple[str, ...] = ()
    raw: dict[str, Json] | None = Field(default=None, repr=False)

    @property
    def counts(self) -> TokenCounts:
        """What it used in all."""
        return TokenCounts(
            input=self.input_tokens,
            output=self.output_tokens,
            cached_input=self.cached_input_tokens,
            cache_write=self.cache_write_tokens,
            cache_write_1h=self.cache_write_1h_tokens,
            reasoning=self.reasoning_tokens,
            searches=self.search_calls,
        )

    @property
    def counts_by_call(self) -> tuple[TokenCounts, ...]:
        """What each of its calls used."""
        return self.calls or (self.counts,)

    def as_hit(self) -> Self:
        """This answer for somebody who did not pay for it."""
        return self.model_copy(update={"served_from": ServedFrom.CACHE, "call_ids": ()})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """What one call used and cost: one row of the ledger.

    ``input_tokens`` and ``output_tokens`` are totals that contain their parts. Money is in US
    dollars; ``None`` means unknown. ``billed_cost`` is what was paid, ``avoided_cost`` what a
    cache hit or a discount saved against live full price. ``waste`` marks money that bought
    nothing that was used.
    """

    provider: str
    input_tokens: int
    output_tokens: int
    phase: int = 0
    task: str = ""
    model: str = ""
    session: str = ""
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    billed_cost: Decimal | None = None
    avoided_cost: Decimal = Decimal(0)
    waste: bool = False
    served_from: ServedFrom = ServedFrom.LIVE
    when: datetime | None = None
