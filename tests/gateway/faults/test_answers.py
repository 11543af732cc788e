"""Answers with status 200 that are empty, broken, cut, refused, or wrong about themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from aigenflow.core.errors import (
    EmptyAnswerError,
    GatewayError,
    MalformedAnswerError,
    RefusedError,
    TruncatedAnswerError,
)
from aigenflow.core.models import Backend, FinishReason, Json
from aigenflow.testing.wire_answer import OTHER_MODEL
from tests.gateway.faults.line import (
    STREAMS,
    TEXT,
    WAYS,
    Line,
    Way,
    output_limit,
    over_streams,
    over_ways,
    over_wholes,
)

CUT = "하나, 둘, 셋, 넷, 다섯, 여섯"
GOES_ON = "넷, 다섯, 여섯, 일곱, 여덟"
JOINED = "하나, 둘, 셋, 넷, 다섯, 여섯, 일곱, 여덟"
DEEP = "[" * 100_000 + "]" * 100_000
MARKER = re.compile(r"\[(\d+)\](?!\()")
STRICT_COUNTS = {Backend.ANTHROPIC, Backend.GEMINI}
"""Adapters to which an impossible count makes the whole answer malformed."""

filters = pytest.mark.parametrize(
    ("way", "finish"),
    [
        pytest.param(way, finish, id=f"{finish}-{way}")
        for way in WAYS
        for finish in ("refusal", "safety", "recitation", "blocked")
        if (way.backend, finish) != (Backend.PERPLEXITY, "recitation")  # it has no such ending
    ],
)


def of(ways: tuple[Way, ...], *backends: Backend) -> list[Way]:
    return [way for way in ways if way.backend in backends]


def billed_tokens(line: Line, index: int = -1) -> tuple[int, int]:
    entry = line.bill[index]
    return entry["input_tokens"], entry["output_tokens"]


@over_ways
@pytest.mark.parametrize("fault", ["content_null", "whitespace", "only_thinking"])
async def test_answer_without_text_is_asked_again_with_more_room(line: Line, fault: str) -> None:
    """One re-ask, with twice the output limit; both answers are billed and the last one kept."""
    line.always({"fault": fault})
    error = await line.fails(EmptyAnswerError)
    limits = [output_limit(request["body"]) for request in line.requests]
    assert limits == [line.way.max_output_tokens, 2 * line.way.max_output_tokens]
    assert error.response is not None
    assert error.response.finish_reason is FinishReason.EMPTY
    assert (error.response.input_tokens, error.response.output_tokens) == billed_tokens(line)
    assert [entry["billed"] for entry in line.bill] == [True, True]
    line.plays({"fault": fault})
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 4


@over_ways
@pytest.mark.parametrize("fault", ["empty_body", "empty_object", "malformed_json", "html_200"])
async def test_unreadable_answer_is_asked_again_once(line: Line, fault: str) -> None:
    """What is no answer at all is asked for once more, and quoted nowhere."""
    line.always({"fault": fault})
    error = await line.fails(MalformedAnswerError)
    assert error.possibly_billed
    assert error.response is None
    assert "<" not in error.message
    assert len(line.requests) == 2
    line.plays({"fault": fault})
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 4


@over_wholes
@pytest.mark.parametrize(
    "body",
    ["null", "42", '"text"', "[]", "[1]", "{", "```json\n{}\n```", "NaN", '{"error": null}', DEEP],
    ids=["null", "number", "text", "list", "list-1", "half", "fenced", "nan", "no-error", "deep"],
)
async def test_wrong_json_is_malformed(line: Line, body: str) -> None:
    """JSON of another shape, or hardly JSON, is malformed and never an exception of ours."""
    form = {"Content-Type": "application/json"}
    line.always({"status": 200, "headers": form, "body": body})
    await line.fails(MalformedAnswerError)
    assert len(line.requests) == 2


def _with_nan(raw: Json) -> str:
    return json.dumps({**raw, "novelty": float("nan")})


def _with_half_a_pair(raw: Json) -> str:
    return json.dumps({**raw, "novelty": "\ud800"})


def _with_prose(raw: Json) -> str:
    return json.dumps(raw) + "\nI hope this helps!"


def _with_fence(raw: Json) -> str:
    return f"```json\n{json.dumps(raw)}\n```"


def _with_depth(raw: Json) -> str:
    return json.dumps({**raw, "novelty": 0})[:-2] + DEEP + "}"


async def _replay(line: Line, change: Callable[[Json], str]) -> None:
    """Make the server answer with its own good answer, changed."""
    line.plays()
    good = await line.ask()
    form = {"Content-Type": "application/json"}
    line.always({"status": 200, "headers": form, "body": change(good.raw)})


@over_wholes
@pytest.mark.parametrize(
    "change", [_with_nan, _with_half_a_pair, _with_prose, _with_fence, _with_depth]
)
async def test_nearly_good_json_is_malformed(line: Line, change: Callable[[Json], str]) -> None:
    """An answer is not repaired by guessing: it is asked for once more."""
    await _replay(line, change)
    await line.fails(MalformedAnswerError)
    assert len(line.requests) == 3


@over_wholes
async def test_unknown_keys_are_ignored(line: Line) -> None:
    """A provider may add to its answers."""
    await _replay(line, lambda raw: json.dumps({**raw, "novelty": {"deep": [1, None, "새"]}}))
    assert (await line.ask()).content == TEXT


@over_ways
@pytest.mark.parametrize("finish", ["length", "context_window"])
async def test_cut_answer_goes_on_without_its_overlap(line: Line, finish: str) -> None:
    """The router asks a cut answer to go on; what both parts say stands there once."""
    line.plays({"text": CUT, "finish": finish}, {"text": GOES_ON})
    answer = (await line.ask_whole()).response
    assert answer.content == JOINED
    assert answer.finish_reason is FinishReason.COMPLETE
    first, second = line.requests
    assert CUT not in str(first["body"])
    assert CUT in str(second["body"])
    assert answer.output_tokens == sum(entry["output_tokens"] for entry in line.bill)
    assert answer.input_tokens == sum(entry["input_tokens"] for entry in line.bill)


@over_ways
async def test_answer_that_is_never_whole_is_an_error(line: Line) -> None:
    """After two continuations a cut answer is given up; what it cost is carried along."""
    line.always({"text": CUT, "finish": "length"})
    error = await line.fails(TruncatedAnswerError, through_router=True)
    assert len(line.requests) == 3
    assert error.response is not None
    assert error.response.finish_reason is FinishReason.LENGTH
    assert not error.response.success
    assert error.response.output_tokens == sum(entry["output_tokens"] for entry in line.bill)


@over_ways
async def test_continuation_that_fails_is_no_answer(line: Line) -> None:
    """Half an answer is not passed on because its second half cannot be had."""
    line.plays({"text": CUT, "finish": "length"}, {"status": 401})
    with pytest.raises(GatewayError):
        await line.ask_whole()
    assert len(line.requests) == 2


@filters
async def test_refusal_is_typed_and_final(line: Line, finish: str) -> None:
    """Refused, filtered or blocked: asked once, billed, and never an answer."""
    line.always({"finish": finish})
    error = await line.fails(RefusedError)
    assert len(line.requests) == 1
    assert error.response is not None
    assert error.response.finish_reason in {FinishReason.REFUSAL, FinishReason.FILTERED}
    assert not error.response.success
    assert (error.response.input_tokens, error.response.output_tokens) == billed_tokens(line)


@pytest.mark.parametrize("way", of(STREAMS, Backend.ANTHROPIC), ids=str)
async def test_paused_turn_goes_on(line: Line) -> None:
    """A turn that the provider paused goes on by itself; both calls are counted."""
    line.plays({"text": "First half.", "finish": "pause_turn"}, {"text": "Second half."})
    answer = await line.ask(web_search=True)
    assert answer.finish_reason is FinishReason.COMPLETE
    assert "First half." in answer.content
    assert "Second half." in answer.content
    assert len(line.requests) == 2
    assert answer.output_tokens == sum(entry["output_tokens"] for entry in line.bill)


@pytest.mark.parametrize("way", of(STREAMS, Backend.ANTHROPIC), ids=str)
async def test_turn_that_stays_paused_is_no_answer(line: Line) -> None:
    """A turn that never ends is malformed, and its cost is carried along."""
    line.always({"text": "More.", "finish": "pause_turn"})
    with pytest.raises(MalformedAnswerError) as caught:
        await line.ask(web_search=True)
    assert caught.value.response is not None
    assert caught.value.response.finish_reason is FinishReason.PAUSED
    assert len(line.requests) == 2 * 4  # a question, its three continuations, and the re-ask


@over_ways
async def test_wrong_model_is_recorded(line: Line) -> None:
    """The answer says which model gave it, whatever was asked for."""
    line.plays({"fault": "wrong_model"})
    answer = await line.ask()
    assert answer.content == TEXT
    assert answer.model == OTHER_MODEL


@over_ways
async def test_missing_usage_is_not_zero(line: Line) -> None:
    """No counts and counts of zero are told apart."""
    line.plays({"fault": "no_usage"}, {"fault": "zero_usage"}, {})
    missing, zero, counted = [await line.ask() for _call in range(3)]
    assert [a.usage_reported for a in (missing, zero, counted)] == [False, True, True]
    assert (missing.tokens_used, zero.tokens_used) == (0, 0)
    assert (counted.input_tokens, counted.output_tokens) == billed_tokens(line)
    assert missing.reported_cost is None


@over_ways
async def test_parts_never_exceed_their_total(line: Line) -> None:
    """Counts that contradict each other are kept as totals that contain their parts."""
    line.plays({"fault": "inconsistent_usage"})
    answer = await line.ask()
    assert answer.content == TEXT
    assert 0 < answer.cached_input_tokens + answer.cache_write_tokens <= answer.input_tokens
    assert 0 < answer.reasoning_tokens <= answer.output_tokens
    assert answer.tokens_used == answer.input_tokens + answer.output_tokens


@over_ways
async def test_count_that_nothing_can_hold_is_not_believed(line: Line) -> None:
    """A count beyond any ledger is either no count or no answer, never a number."""
    huge = {"input_tokens": 10**30, "output_tokens": 10**30}
    line.always({"usage": huge})
    if line.way.backend in STRICT_COUNTS:
        await line.fails(MalformedAnswerError)
        assert len(line.requests) == 2
        return
    answer = await line.ask()
    assert answer.content == TEXT
    assert not answer.usage_reported
    assert answer.tokens_used < 1000
    assert answer.reported_cost is None


@over_streams
async def test_search_without_sources_claims_none(line: Line) -> None:
    """An answer whose search gave nothing has no citations and no markers: a later check sees."""
    line.plays({"fault": "no_citations"})
    answer = await line.ask(web_search=True)
    assert answer.citations == ()
    assert not MARKER.search(answer.content)


@over_streams
async def test_markers_count_the_citations(line: Line) -> None:
    """Every marker names a citation, also where the provider names one it did not give."""
    line.wire.script(defaults={"fault": "citation_out_of_range"})
    answer = await line.ask(web_search=True)
    numbers = {int(number) for number in MARKER.findall(answer.content)}
    if line.way.backend is not Backend.COMPATIBLE:  # it has no search, so its marks are plain text
        assert numbers <= set(range(1, len(answer.citations) + 1))


@pytest.mark.parametrize("way", of(WAYS, Backend.PERPLEXITY), ids=str)
async def test_marker_without_a_source_is_dropped(line: Line, way: Way) -> None:
    """Perplexity's own marks are renumbered, and one that names nothing goes."""
    line.plays({"text": "가 [1][9]. 나 [2, 12]. 다 [7]. 2025년 [2025]."})
    answer = await line.ask()
    assert answer.content == "가 [1]. 나 [2]. 다. 2025년 [2025]."
    assert len(answer.citations) == 3


def _mixture() -> list[dict[str, Any]]:
    kinds: tuple[dict[str, Any], ...] = (
        {"status": 500},
        {"status": 429},
        {"status": 529},
        {"status": 400},
        {"fault": "reset_mid_body"},
        {"fault": "stream_cut_after:3"},
        {"fault": "no_terminal_event"},
        {"fault": "malformed_json"},
        {"fault": "only_thinking"},
        {"fault": "no_usage"},
        {"finish": "refusal"},
        {"finish": "length"},
    )
    return [{"match": {"probability": 0.04}, "action": kind} for kind in kinds]


@over_ways
async def test_no_mixture_of_faults_gives_half_an_answer(line: Line) -> None:
    """Many calls with faults at random: each is the whole answer, cut and marked, or typed."""
    line.wire.script(seed=7, defaults={"text": TEXT, "chunks": 6}, rules=_mixture())
    whole = failed = 0
    for _call in range(25):
        line.clock.advance(60)  # lets a circuit that opened be probed
        try:
            answer = await line.ask()
        except GatewayError:
            failed += 1
            continue
        assert answer.content == TEXT
        assert answer.success is (answer.finish_reason is FinishReason.COMPLETE)
        whole += answer.success
    assert whole >= 12
    assert whole + failed <= 25
    assert len(line.requests) >= 25
