"""Answers that come in pieces: broken off, in the wrong order, too slow, or not at all."""

from __future__ import annotations

import pytest

from aigenflow.core.config import TimeoutSettings
from aigenflow.core.errors import (
    ConnectionFailedError,
    GatewayError,
    MalformedAnswerError,
    ServerFaultError,
    StalledError,
)
from aigenflow.core.models import Backend
from tests.gateway.faults.line import (
    HASTY,
    PIECES,
    STREAMS,
    TEXT,
    Line,
    Way,
    over_streams,
    over_ways,
)

WHOLE_AT_THE_END = {Backend.OPENAI, Backend.PERPLEXITY}
"""Their last event repeats the whole answer, and that is the one we keep."""


@over_streams
@pytest.mark.parametrize("events", [1, 2, 4, 5])
async def test_cut_stream_is_no_answer(line: Line, events: int) -> None:
    """However many events came, an answer without its end is asked for again."""
    line.always({"fault": f"stream_cut_after:{events}"})
    error = await line.fails(ConnectionFailedError)
    assert error.possibly_billed
    assert error.response is None
    assert len(line.requests) == 3
    line.plays({"fault": f"stream_cut_after:{events}"})
    assert (await line.ask()).content == TEXT


@over_ways
async def test_missing_end_is_no_answer(line: Line) -> None:
    """All of the text without the event (or the bytes) that ends it is not a whole answer."""
    line.always({"fault": "no_terminal_event"})
    error = await line.fails(ConnectionFailedError)
    assert error.possibly_billed
    assert len(line.requests) == 3


@over_streams
@pytest.mark.parametrize("events", [0, 1, 3])
async def test_error_event_after_200_is_a_server_fault(line: Line, events: int) -> None:
    """An error inside a stream is typed like its status, asked again, and possibly billed."""
    line.always({"fault": f"error_event:{events}"})
    error = await line.fails(ServerFaultError)
    assert error.possibly_billed
    assert len(line.requests) == 3
    line.plays({"fault": f"error_event:{events}"})
    assert (await line.ask()).content == TEXT


@over_streams
@pytest.mark.parametrize("fault", ["duplicate_event", "out_of_order"])
async def test_disturbed_order_never_loses_text(line: Line, fault: str) -> None:
    """Where the end repeats the answer it is exact; elsewhere every piece is there, as sent."""
    line.plays({"fault": fault})
    answer = await line.ask()
    assert len(line.requests) == 1
    if line.way.backend in WHOLE_AT_THE_END:
        assert answer.content == TEXT
        return
    size = -(-len(TEXT) // PIECES)
    for start in range(0, len(TEXT), size):
        assert TEXT[start : start + size].strip() in answer.content


@over_ways
async def test_character_split_over_two_writes_is_whole(line: Line) -> None:
    """A write that ends inside a Hangul syllable or an emoji spoils neither."""
    line.plays({"fault": "split_utf8"})
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 1


@over_ways
async def test_event_of_ten_megabytes_is_read(line: Line) -> None:
    """Size alone spoils no answer."""
    line.plays({"fault": "big_event_10mb"})
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 1


@over_ways
@pytest.mark.parametrize("fault", ["ping_only:0.02", "drip_1_byte_s:20", "stall_s:61"])
async def test_silence_is_not_waited_for(line: Line, fault: str) -> None:
    """Keep-alives, single bytes and silence are no answer: three attempts, possibly billed."""
    line.timeouts = HASTY
    line.always({"fault": fault})
    if str(line.way) == "gemini-stream" and fault.startswith("ping_only"):
        # Google's SDK takes a comment line for JSON; its service sends none.
        error: GatewayError = await line.fails(MalformedAnswerError)
        attempts = 2
    else:
        error = await line.fails(StalledError)
        attempts = 3
        assert len(line.clock.sleeps) == attempts - 1
    assert error.possibly_billed
    assert error.response is None
    assert len(line.requests) <= attempts


@over_streams
async def test_silence_between_events_has_its_own_limit(line: Line) -> None:
    """Once the answer has begun, the limit of silence holds, not that of the first event."""
    line.attempts = 1
    line.timeouts = TimeoutSettings(
        connect_seconds=10, first_event_seconds=30, idle_seconds=0.1, total_seconds=60
    )
    line.always({"fault": "stall_s:61"})
    error = await line.fails(StalledError)
    assert "0.1 s" in error.message
    assert len(line.requests) == 1


@over_streams
async def test_total_limit_holds_for_a_lively_stream(line: Line) -> None:
    """Events that keep coming do not extend the limit over the whole call."""
    line.attempts = 1
    line.timeouts = TimeoutSettings(
        connect_seconds=10, first_event_seconds=30, idle_seconds=30, total_seconds=0.4
    )
    line.always({"chunks": len(TEXT), "tokens_per_s": 10})
    error = await line.fails(StalledError)
    assert "0.4 s" in error.message
    assert len(line.requests) == 1


@over_streams
async def test_slow_stream_is_waited_for(line: Line) -> None:
    """An answer slower than any one limit comes through as long as its events keep coming."""
    line.timeouts = TimeoutSettings(
        connect_seconds=10, first_event_seconds=30, idle_seconds=30, total_seconds=60
    )
    line.plays({"first_event_s": 0.05, "chunks": 12, "tokens_per_s": 200})
    assert (await line.ask()).content == TEXT
    assert len(line.requests) == 1


def _bytes_of(*events: str) -> str:
    return "".join(f"data: {event}\n\n" for event in events)


@pytest.mark.parametrize("way", [w for w in STREAMS if w.backend in WHOLE_AT_THE_END], ids=str)
async def test_failed_response_after_text_is_no_answer(line: Line, way: Way) -> None:
    """A terminal event that says "failed" outweighs all the text before it."""
    failed = '{"type":"response.failed","response":{"status":"failed","output":[],"error":'
    failed += '{"code":"server_error","message":"The model broke down"}}}'
    delta = '{"type":"response.output_text.delta","delta":"' + TEXT[:20] + '"}'
    form = {"Content-Type": "text/event-stream"}
    line.always({"status": 200, "headers": form, "body": _bytes_of(delta, failed)})
    error = await line.fails(ServerFaultError)
    assert error.possibly_billed
    assert len(line.requests) == 3
