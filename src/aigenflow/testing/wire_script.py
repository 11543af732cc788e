"""The script of the wire-format server: which request gets which answer.

A script is YAML or JSON. Everything is optional::

    seed: 7                                  # of every random choice
    accepted_keys: [sk-good]                 # any other API key is 401; default: every key
    models: {anthropic: [claude-sonnet-5-5]} # any other model is 404; default: every model
    limits:
      openai: {requests_per_second: 5, requests_per_minute: 60, tokens_per_minute: 90000}
    defaults: {latency_s: [0.05, 0.2]}       # an action; what a rule leaves open
    rules:
      - match: {provider: anthropic, contains: SWOT, nth: 2}
        action: {status: 429, headers: {retry-after: "{http_date+5}"}}
      - match: {model: gemini-3.8-flash, times: 1}
        action: {text: "Scripted.", chunks: 4, tokens_per_s: 50, first_event_s: 0.1}
      - match: {probability: 0.2}
        action: {fault: "stream_cut_after:3"}

``match`` (all that are given must hold): ``provider`` (anthropic, openai, gemini, perplexity,
compatible), ``model``, ``contains`` (text of the body; escapes in the JSON are resolved), ``tier``
(``flex``, ``batch`` for an item of a job, or the provider's own word), ``nth`` (only the n-th call
that the rest matches, from 1), ``times`` (fires at most so often), ``probability`` (0..1, drawn
from the seed, the body and the call's number). The first rule that holds acts.

``jobs`` says what becomes of batch jobs, in the same way; ``match`` looks at the bodies of all
items, and the items themselves are answered by ``rules``, as if each had been asked alone::

    jobs:
      - match: {provider: openai, times: 1}
        action: {polls: 3, end: expired, done: 0.4, reversed: true}

See :class:`JobAction` for its names.

``limits`` are enforced: a call over them is a 429 that says when to come back; tokens are input
tokens.

``action``: ``text`` or ``text_file`` (relative to the script); ``fill`` draws the text out to this
share (0..1) of the output limit that was asked for; ``latency_s`` before anything (a
number, or ``[least, most]``); ``first_event_s`` between a stream's headers and its first event;
``tokens_per_s`` and ``chunks`` shape the stream; ``usage`` overrides single counts (names of
``Counts``); ``finish`` (names of ``Finish``); ``tier`` at which it is served, whatever was asked;
``status`` with ``headers`` and ``body`` (text or JSON; default: the provider's own error for that
status, and an HTML page for 520); ``billed`` overrides whether the provider charges; ``fault`` as
``kind`` or ``kind:value`` (see ``FaultKind``). In a header value ``{http_date+5}`` stands for the
date five seconds from now.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from enum import StrEnum
from gettext import gettext as _
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from aigenflow.core.errors import ConfigError
from aigenflow.core.models import Backend, Json
from aigenflow.testing.wire_models import Ask, Counts, Finish, first_problem


class FaultKind(StrEnum):
    """What goes wrong. ``:value`` after the name sets the number or text in brackets."""

    RESET_BEFORE_HEADERS = "reset_before_headers"  # TCP reset instead of an answer
    RESET_MID_BODY = "reset_mid_body"  # TCP reset after half of the bytes
    STREAM_CUT_AFTER = "stream_cut_after"  # connection closed after [2] events
    NO_TERMINAL_EVENT = "no_terminal_event"  # a clean end without the event that says so
    ERROR_EVENT = "error_event"  # an error after [2] events of a 200
    DUPLICATE_EVENT = "duplicate_event"  # one text event twice
    OUT_OF_ORDER = "out_of_order"  # two text events swapped
    SPLIT_UTF8 = "split_utf8"  # writes that end inside a multi-byte character
    BIG_EVENT_10MB = "big_event_10mb"  # one event of 10 MB
    PING_ONLY = "ping_only"  # keep-alives every [0.1] s, for ever
    DRIP = "drip_1_byte_s"  # byte by byte, [1] a second
    STALL_S = "stall_s"  # silence of [61] s after two events, then the rest
    EMPTY_BODY = "empty_body"
    EMPTY_OBJECT = "empty_object"
    CONTENT_NULL = "content_null"
    WHITESPACE = "whitespace"
    ONLY_THINKING = "only_thinking"  # the whole limit spent on reasoning
    MALFORMED_JSON = "malformed_json"
    HTML_200 = "html_200"
    REDIRECT_307_TO = "redirect_307_to"  # to [a URL]
    WRONG_MODEL = "wrong_model"
    NO_USAGE = "no_usage"
    ZERO_USAGE = "zero_usage"
    INCONSISTENT_USAGE = "inconsistent_usage"  # more cached than sent, more reasoned than said
    NO_CITATIONS = "no_citations"
    CITATION_OUT_OF_RANGE = "citation_out_of_range"
    NO_CAPACITY = "no_capacity"  # a call at the flex tier is refused; any other is not touched


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fault(_Strict):
    """One fault and its value as text, empty where the default is meant."""

    kind: FaultKind
    value: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Json) -> Json:
        if isinstance(data, str):
            kind, _colon, value = data.partition(":")
            return {"kind": kind, "value": value}
        return data

    @model_validator(mode="after")
    def _value_fits(self) -> Fault:
        if self.kind is FaultKind.REDIRECT_307_TO:
            if "://" not in self.value:
                raise ValueError("redirect_307_to needs a URL after the colon")
        elif self.value:
            float(self.value)
        return self

    def number(self, default: float) -> float:
        return float(self.value) if self.value else default


def _range(value: Json) -> Json:
    return (value, value) if isinstance(value, int | float) else value


def _on_the_wire(backend: Backend) -> Backend:
    if backend is Backend.OFFLINE:
        raise ValueError("offline is not reached over a network")
    return backend


Seconds = Annotated[float, Field(ge=0)]
Latency = Annotated[tuple[Seconds, Seconds], BeforeValidator(_range)]
Provider = Annotated[Backend, AfterValidator(_on_the_wire)]


class Match(_Strict):
    """Which calls a rule is for; see the module's docstring."""

    provider: Provider | None = None
    model: str | None = None
    contains: str | None = None
    tier: str | None = None
    nth: Annotated[int, Field(ge=1)] | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] | None = None


class Usage(_Strict):
    """Counts that replace the counted ones, field by field."""

    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    tool_prompt_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    search_calls: int | None = None

    def over(self, counts: Counts) -> Counts:
        values = {name: getattr(counts, name) for name in Usage.model_fields}
        return Counts(**(values | self.model_dump(exclude_none=True)))


class Action(_Strict):
    """What a call gets; see the module's docstring."""

    text: str | None = None
    text_file: Path | None = None
    fill: Annotated[float, Field(ge=0, le=1)] = 0.0
    latency_s: Latency = (0.0, 0.0)
    first_event_s: Seconds = 0.0
    tokens_per_s: Annotated[float, Field(gt=0)] | None = None
    chunks: Annotated[int, Field(ge=1)] | None = None
    usage: Usage = Usage()
    finish: Finish | None = None
    tier: str | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    headers: dict[str, str] = {}
    body: Json = None
    billed: bool | None = None
    fault: Fault | None = None

    def script_text(self) -> str | None:
        """The scripted text, read from its file at each use. Raises ``OSError``."""
        if self.text_file is not None:
            return self.text_file.read_text(encoding="utf-8")
        return self.text

    def over(self, defaults: Action) -> Action:
        """This action, with ``defaults`` where it leaves something open."""
        return defaults.model_copy(update={n: getattr(self, n) for n in self.model_fields_set})


class Rule(_Strict):
    match: Match = Match()
    action: Action = Action()


class JobEnd(StrEnum):
    """How a job ends that nobody cancels."""

    ENDED = "ended"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


Places = tuple[Annotated[int, Field(ge=0)], ...]


class JobAction(_Strict):
    """What becomes of a job. Places count its items from 0.

    It is over after ``polls`` looks at it and ``seconds`` at the earliest, or never (``stuck``);
    ``cancel_polls`` looks after it was cancelled. ``done`` (0..1) of its items have run by then:
    all of one that ``end``s, none of any other. Then its results are made and billed.

    ``reversed`` order, ``missing``, ``duplicated`` and ``malformed`` results, so many with an
    ``unknown`` id; ``gone``: kept no longer. ``results_url`` is what Anthropic names instead of
    its own. The first ``unavailable`` looks are a 503. ``lost``: the answer to the create does
    not arrive; ``create_status`` refuses it, without a job unless it is lost as well.
    ``page_size`` shortens the pages of the list. ``delete_status`` refuses to delete anything.
    """

    polls: Annotated[int, Field(ge=0)] = 1
    seconds: Seconds = 0.0
    stuck: bool = False
    cancel_polls: Annotated[int, Field(ge=0)] = 1
    end: JobEnd = JobEnd.ENDED
    done: Annotated[float, Field(ge=0, le=1)] | None = None
    reversed: bool = False
    missing: Places = ()
    duplicated: Places = ()
    malformed: Places = ()
    unknown: Annotated[int, Field(ge=0)] = 0
    gone: bool = False
    results_url: str | None = None
    unavailable: Annotated[int, Field(ge=0)] = 0
    lost: bool = False
    create_status: Annotated[int, Field(ge=400, le=599)] | None = None
    page_size: Annotated[int, Field(ge=1)] | None = None
    delete_status: Annotated[int, Field(ge=400, le=599)] | None = None


class JobMatch(_Strict):
    """Which jobs a rule is for: provider, text of any item, the n-th of them, so many at most."""

    provider: Provider | None = None
    contains: str | None = None
    nth: Annotated[int, Field(ge=1)] | None = None
    times: Annotated[int, Field(ge=1)] | None = None


class JobRule(_Strict):
    match: JobMatch = JobMatch()
    action: JobAction = JobAction()


class Limits(_Strict):
    """What one provider takes; ``None`` is no limit. Tokens are input tokens."""

    requests_per_second: Annotated[int, Field(ge=1)] | None = None
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None


class WireScript(_Strict):
    """See the module's docstring."""

    seed: int = 0
    accepted_keys: frozenset[str] | None = None
    models: dict[Provider, tuple[str, ...]] = {}
    limits: dict[Provider, Limits] = {}
    defaults: Action = Action()
    rules: tuple[Rule, ...] = ()
    jobs: tuple[JobRule, ...] = ()


def parse_script(data: Json, origin: str = "script") -> WireScript:
    """A checked script. Raises ``ConfigError`` that names the place."""
    try:
        return WireScript.model_validate({} if data is None else data)
    except ValidationError as error:
        place, _kind, problem = first_problem(error)
        raise ConfigError(
            _("The script {origin} is wrong at {place}: {problem}.").format(
                origin=origin, place=place or "/", problem=problem
            ),
            hint=_("The names a script may use stand in aigenflow.testing.wire_script."),
        ) from error


def read_script(text: str, origin: str = "script") -> Json:
    """The plain form of YAML or JSON text. Raises ``ConfigError``."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (ValueError, YAMLError) as error:
        raise _unreadable(origin, error) from error


def load_script(path: Path) -> WireScript:
    """The script of a YAML or JSON file. Raises ``ConfigError``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unreadable(path.name, error) from error
    script = parse_script(read_script(text, path.name), path.name)
    rules = tuple(_anchored(rule, path.parent) for rule in script.rules)
    return script.model_copy(update={"rules": rules})


def _unreadable(origin: str, error: Exception) -> ConfigError:
    return ConfigError(
        _("The script {origin} cannot be read: {problem}.").format(
            origin=origin, problem=" ".join(str(error).split())
        ),
        hint=_("Give a YAML or JSON file."),
    )


def _anchored(rule: Rule, folder: Path) -> Rule:
    """The rule with its text file looked up beside the script."""
    if rule.action.text_file is None:
        return rule
    action = rule.action.model_copy(update={"text_file": folder / rule.action.text_file})
    return rule.model_copy(update={"action": action})


def chance(seed: int, *parts: object) -> float:
    """A number in [0, 1) that depends on its arguments only."""
    digest = hashlib.sha256("|".join(map(str, (seed, *parts))).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class RuleBook:
    """The rules with their counters. Every rule counts every call that it could be for."""

    def __init__(self, script: WireScript) -> None:
        self._script = script
        self._seen = [0] * len(script.rules)
        self._fired = [0] * len(script.rules)
        self._jobs_seen = [0] * len(script.jobs)
        self._jobs_fired = [0] * len(script.jobs)

    def choose(self, ask: Ask, call: int) -> tuple[Action, int | None]:
        """The action for the ``call``-th call of the server, and the index of its rule."""
        chosen: int | None = None
        body: str | None = None
        for index, rule in enumerate(self._script.rules):
            match = rule.match
            if match.contains is not None and body is None:
                body = json.dumps(ask.received.body, ensure_ascii=False)
            if not _concerns(match, ask, body or ""):
                continue
            self._seen[index] += 1
            if chosen is None and self._due(index, match, ask, call):
                chosen = index
        if chosen is None:
            return self._script.defaults, None
        self._fired[chosen] += 1
        return self._script.rules[chosen].action.over(self._script.defaults), chosen

    def choose_job(self, backend: Backend, text: str) -> JobAction:
        """The action for a new job whose items' bodies are ``text``."""
        chosen: int | None = None
        for index, rule in enumerate(self._script.jobs):
            match = rule.match
            if match.provider not in (None, backend) or _escaped(match.contains or "") not in text:
                continue
            self._jobs_seen[index] += 1
            is_nth = match.nth in (None, self._jobs_seen[index])
            is_left = match.times is None or self._jobs_fired[index] < match.times
            if chosen is None and is_nth and is_left:
                chosen = index
        if chosen is None:
            return JobAction()
        self._jobs_fired[chosen] += 1
        return self._script.jobs[chosen].action

    def _due(self, index: int, match: Match, ask: Ask, call: int) -> bool:
        if match.nth is not None and self._seen[index] != match.nth:
            return False
        if match.times is not None and self._fired[index] >= match.times:
            return False
        draw = chance(self._script.seed, "rule", index, ask.received.sha256, call)
        return match.probability is None or draw < match.probability


def _concerns(match: Match, ask: Ask, body: str) -> bool:
    return (
        (match.provider is None or match.provider is ask.backend)
        and (match.model is None or match.model == ask.model)
        and (match.tier is None or match.tier == ask.tier)
        and (match.contains is None or _escaped(match.contains) in body)
    )


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
