"""The faults of the wire-format server as bytes on the wire, and what each of them charges."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from aigenflow.testing.bill import BillLine
from aigenflow.testing.server import WireServer

KEYS = {
    "x-api-key": "k",
    "anthropic-version": "2023-06-01",
    "x-goog-api-key": "k",
    "Authorization": "Bearer k",
}
FLASH = "/v1beta/models/gemini-3.8-flash"
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "anthropic": (
        "/v1/messages",
        "/v1/messages",
        {
            "model": "claude-sonnet-5-5",
            "max_tokens": 4000,
            "messages": [{"role": "user", "content": "위험 하나를 말해 주세요."}],
        },
    ),
    "openai": (
        "/v1/responses",
        "/v1/responses",
        {"model": "gpt-6.1-sol", "input": "위험 하나를 말해 주세요."},
    ),
    "perplexity": (
        "/v1/responses",
        "/v1/responses",
        {"model": "perplexity/sonar", "input": "위험 하나를 말해 주세요."},
    ),
    "gemini": (
        f"{FLASH}:generateContent",
        f"{FLASH}:streamGenerateContent?alt=sse",
        {"contents": [{"parts": [{"text": "위험 하나를 말해 주세요."}]}]},
    ),
    "compatible": (
        "/v1/chat/completions",
        "/v1/chat/completions",
        {"model": "llama", "messages": [{"role": "user", "content": "위험 하나를 말해 주세요."}]},
    ),
}
PROVIDERS = tuple(CALLS)
TERMINAL = {
    "anthropic": "message_stop",
    "openai": "response.completed",
    "perplexity": "response.completed",
    "gemini": "finishReason",
    "compatible": "[DONE]",
}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Outcome:
    """What a client saw of one call, and what it was charged."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes, error: str) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.data = data
        self.error = error
        self.line: BillLine

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def events(self) -> list[str]:
        blocks = self.data.decode().replace("\r\n", "\n").strip().split("\n\n")
        return [block.partition("data: ")[2] for block in blocks]


async def call(
    http: aiohttp.ClientSession,
    provider: str,
    action: dict[str, Any],
    *,
    stream: bool = False,
    read_timeout: float | None = None,
) -> Outcome:
    """One call under ``action``; a broken connection is an ``error``, not an exception."""
    async with WireServer({"rules": [{"action": action}]}) as server:
        outcome = await call_server(http, server, provider, stream, read_timeout)
    outcome.line = server.bill[0]
    return outcome


async def call_server(
    http: aiohttp.ClientSession,
    server: WireServer,
    provider: str,
    stream: bool = False,
    read_timeout: float | None = None,
) -> Outcome:
    whole_path, stream_path, body = CALLS[provider]
    if stream and provider != "gemini":
        body = {**body, "stream": True}
    path = stream_path if stream else whole_path
    timeout = aiohttp.ClientTimeout(sock_read=read_timeout)
    data = b""
    try:
        async with http.post(
            server.url + path, json=body, headers=KEYS, allow_redirects=False, timeout=timeout
        ) as response:
            try:
                async for piece in response.content.iter_any():
                    data += piece
            except (aiohttp.ClientError, TimeoutError) as error:
                return Outcome(response.status, dict(response.headers), data, type(error).__name__)
            return Outcome(response.status, dict(response.headers), data, "")
    except aiohttp.ClientError as error:
        return Outcome(0, {}, data, type(error).__name__)


async def until(happened: Callable[[], object]) -> None:
    """Wait until ``happened`` is true, five seconds at the most."""
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_fault_the_whole_answer_is_charged(
    provider: str, stream: bool, http: aiohttp.ClientSession
) -> None:
    """A complete answer has its terminal event, and its tokens stand on the bill."""
    outcome = await call(http, provider, {}, stream=stream)
    assert (outcome.status, outcome.error) == (200, "")
    assert outcome.line.billed
    assert outcome.line.outcome == "complete"
    assert outcome.line.output_tokens > 10
    assert outcome.line.bytes_sent == len(outcome.data)
    if stream:
        assert outcome.line.events_sent == len(outcome.events)
        assert TERMINAL[provider] in outcome.events[-1]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reset_before_the_headers_charges_nothing(
    provider: str, stream: bool, http: aiohttp.ClientSession
) -> None:
    """The client sees a broken connection and no answer."""
    outcome = await call(http, provider, {"fault": "reset_before_headers"}, stream=stream)
    assert outcome.error in ("ServerDisconnectedError", "ClientOSError")
    assert (outcome.line.billed, outcome.line.status) == (False, None)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_reset_in_the_body_is_charged_in_full(
    provider: str, http: aiohttp.ClientSession
) -> None:
    """The answer was generated, so it is paid for, although half of it arrived."""
    outcome = await call(http, provider, {"fault": "reset_mid_body"})
    assert outcome.error
    assert 0 < len(outcome.data) < int(outcome.headers["content-length"])
    assert outcome.line.billed
    assert outcome.line.output_tokens > 10


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_cut_after_text_is_charged_for_what_was_said(
    provider: str, http: aiohttp.ClientSession
) -> None:
    """A cut before the first text costs nothing, a later one the input and a part of the output."""
    whole = await call(http, provider, {}, stream=True)
    early = await call(http, provider, {"fault": "stream_cut_after:0"}, stream=True)
    cut = len(whole.events) * 3 // 4
    late = await call(http, provider, {"fault": f"stream_cut_after:{cut}"}, stream=True)
    assert (early.error, late.error) == ("ClientPayloadError", "ClientPayloadError")
    assert not early.line.billed
    assert late.line.events_sent == cut
    assert 0 < late.line.output_tokens <= whole.line.output_tokens
    assert late.line.input_tokens == whole.line.input_tokens
    assert TERMINAL[provider] not in late.events[-1]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_can_end_cleanly_without_saying_so(
    provider: str, http: aiohttp.ClientSession
) -> None:
    """HTTP is whole, the terminal event is missing, and everything is charged."""
    outcome = await call(http, provider, {"fault": "no_terminal_event"}, stream=True)
    assert outcome.error == ""
    assert TERMINAL[provider] not in outcome.data.decode()
    assert outcome.line.billed


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_error_event_ends_the_stream(provider: str, http: aiohttp.ClientSession) -> None:
    """After a 200 the provider breaks off in its own words."""
    outcome = await call(http, provider, {"fault": "error_event:1"}, stream=True)
    assert outcome.status == 200
    assert len(outcome.events) == 2
    assert "error" in outcome.events[-1]
    whole = await call(http, provider, {"fault": "error_event"})
    assert (whole.status, whole.line.billed) == (500, False)


async def test_events_can_come_twice_or_swapped(http: aiohttp.ClientSession) -> None:
    """Only the sequence numbers of the Responses format give it away."""

    def numbers(outcome: Outcome) -> list[int]:
        return [json.loads(event)["sequence_number"] for event in outcome.events]

    good = numbers(await call(http, "openai", {}, stream=True))
    twice = numbers(await call(http, "openai", {"fault": "duplicate_event"}, stream=True))
    swapped = numbers(await call(http, "openai", {"fault": "out_of_order"}, stream=True))
    assert good == sorted(set(good))
    assert len(twice) == len(good) + 1
    assert sorted(set(twice)) == good
    assert swapped != good
    assert sorted(swapped) == good


@pytest.mark.parametrize("stream", [False, True])
async def test_a_read_can_end_inside_a_character(stream: bool) -> None:
    """One read of the socket is not valid UTF-8, all of them together are."""
    action = {"text": "한글", "chunks": 1, "fault": "split_utf8"}
    async with WireServer({"rules": [{"action": action}]}) as server:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        _, _, body = CALLS["compatible"]
        data = json.dumps({**body, "stream": stream}).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
        )
        reads = []
        while piece := await reader.read(65536):
            reads.append(piece)
        writer.close()
        await writer.wait_closed()
    # Chunked framing puts its own bytes between the halves of a stream's character.
    assert any(piece.rstrip(b"\r\n").endswith("한".encode()[:1]) for piece in reads)
    if not stream:
        assert "한글" in b"".join(reads).decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_one_event_can_be_ten_megabytes(stream: bool, http: aiohttp.ClientSession) -> None:
    """The padding is beside the text: answer and bill stay as they are."""
    plain = await call(http, "openai", {}, stream=stream)
    big = await call(http, "openai", {"fault": "big_event_10mb"}, stream=stream)
    assert len(big.data) > 10 * 1024 * 1024
    assert big.line.output_tokens == plain.line.output_tokens
    assert big.error == ""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_pings_never_become_an_answer(
    provider: str, stream: bool, http: aiohttp.ClientSession
) -> None:
    """Keep-alives go on until the client gives up, and a stream of them is free."""
    async with WireServer({"rules": [{"action": {"fault": "ping_only:0.001"}}]}) as server:
        whole_path, stream_path, body = CALLS[provider]
        body = {**body, "stream": True} if stream and provider != "gemini" else body
        url = server.url + (stream_path if stream else whole_path)
        async with http.post(url, json=body, headers=KEYS) as response:
            assert await response.content.readany()
        await until(lambda: server.bill)
    (line,) = server.bill
    assert line.outcome == "client_gone"
    assert line.bytes_sent > 0
    assert line.billed is not stream


async def test_bytes_can_drip(http: aiohttp.ClientSession) -> None:
    """The bytes come one by one at the given rate and make up the same answer."""
    action = {"text": "ok", "chunks": 1, "fault": "drip_1_byte_s:20000"}
    outcome = await call(http, "compatible", action)
    assert outcome.json["choices"][0]["message"]["content"] == "ok"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stall_trips_an_idle_timeout(stream: bool, http: aiohttp.ClientSession) -> None:
    """A part arrives, then nothing for the given time."""
    action = {"fault": "stall_s:30"}
    outcome = await call(http, "anthropic", action, stream=stream, read_timeout=0.2)
    assert outcome.error == "SocketTimeoutError"
    assert outcome.data
    assert outcome.line.outcome == "client_gone"


async def test_a_short_stall_is_followed_by_the_rest(http: aiohttp.ClientSession) -> None:
    """After the silence the answer is completed and charged."""
    outcome = await call(http, "openai", {"fault": "stall_s:0.05"}, stream=True)
    assert TERMINAL["openai"] in outcome.events[-1]
    assert outcome.line.billed


@pytest.mark.parametrize(
    ("fault", "data", "billed"),
    [
        ("empty_body", b"", False),
        ("empty_object", b"{}", False),
        ("html_200", b"<!DOCTYPE html>", False),
    ],
)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_200_can_be_no_answer_at_all(
    provider: str, fault: str, data: bytes, billed: bool, http: aiohttp.ClientSession
) -> None:
    """A proxy's page or an empty body is not the model's work, and is not charged."""
    outcome = await call(http, provider, {"fault": fault})
    assert outcome.status == 200
    assert outcome.data.startswith(data)
    assert len(outcome.data) == len(data) or fault == "html_200"
    assert outcome.line.billed is billed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_json_can_be_broken(provider: str, stream: bool, http: aiohttp.ClientSession) -> None:
    """The body or one event of it is not JSON; the answer was generated all the same."""
    outcome = await call(http, provider, {"fault": "malformed_json"}, stream=stream)
    texts = [event for event in outcome.events if event != "[DONE]"] if stream else [outcome.data]
    broken = 0
    for text in texts:
        try:
            json.loads(text)
        except ValueError:
            broken += 1
    assert broken == 1
    assert outcome.line.billed


def text_of(provider: str, body: dict[str, Any]) -> Any:
    """The text of a whole answer, ``None`` where it is null or missing."""
    match provider:
        case "anthropic":
            blocks = body["content"]
            return blocks and "".join(block.get("text", "") for block in blocks)
        case "gemini":
            content = body["candidates"][0]["content"]
            return content and "".join(part["text"] for part in content.get("parts", []))
        case "compatible":
            return body["choices"][0]["message"]["content"]
        case _:
            messages = [item for item in body["output"] if item["type"] == "message"]
            return messages[0]["content"][0]["text"] if messages else None


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "text"), [("content_null", None), ("whitespace", " \n\t "), ("only_thinking", "")]
)
async def test_an_answer_can_have_no_text_and_cost_money(
    provider: str, fault: str, text: str | None, http: aiohttp.ClientSession
) -> None:
    """Null, white space and reasoning alone are well-formed answers, charged in full."""
    outcome = await call(http, provider, {"fault": fault})
    assert (text_of(provider, outcome.json) or text) == text
    assert outcome.line.billed
    if fault == "only_thinking":
        assert outcome.line.reasoning_tokens == outcome.line.output_tokens > 0


async def test_a_redirect_leads_elsewhere(http: aiohttp.ClientSession) -> None:
    """A 307 names another host and charges nothing."""
    outcome = await call(http, "openai", {"fault": "redirect_307_to:http://127.0.0.1:9/x"})
    assert (outcome.status, outcome.headers["location"]) == (307, "http://127.0.0.1:9/x")
    assert not outcome.line.billed


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_another_model_can_answer(
    provider: str, stream: bool, http: aiohttp.ClientSession
) -> None:
    """The answer names a model that nobody asked for; the bill names the one asked for."""
    outcome = await call(http, provider, {"fault": "wrong_model"}, stream=stream)
    assert b"some-other-model-1" in outcome.data
    assert outcome.line.model != "some-other-model-1"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_reported_usage_can_be_missing_zero_or_nonsense(
    provider: str, http: aiohttp.ClientSession
) -> None:
    """What is reported changes, what is billed does not."""
    outcomes = {
        fault: await call(http, provider, {"fault": fault} if fault else {})
        for fault in ("", "no_usage", "zero_usage", "inconsistent_usage")
    }
    assert len({outcome.line.output_tokens for outcome in outcomes.values()}) == 1
    name = "usageMetadata" if provider == "gemini" else "usage"
    reported = {fault: outcome.json.get(name) for fault, outcome in outcomes.items()}
    assert reported["no_usage"] is None
    assert all(reported[fault] != reported[""] for fault in outcomes if fault)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_stream_can_report_no_usage(provider: str, http: aiohttp.ClientSession) -> None:
    """No event of the stream carries counts."""
    outcome = await call(http, provider, {"fault": "no_usage"}, stream=True)
    assert b"_tokens" not in outcome.data.replace(b"max_output_tokens", b"")
    assert b"usageMetadata" not in outcome.data
    assert outcome.line.billed


async def test_citations_can_be_missing_or_out_of_range(http: aiohttp.ClientSession) -> None:
    """Perplexity's marks can name a source that is not in its list, or no source at all."""
    good = text_of("perplexity", (await call(http, "perplexity", {})).json)
    wild = (await call(http, "perplexity", {"fault": "citation_out_of_range"})).json
    bare = (await call(http, "perplexity", {"fault": "no_citations"})).json
    assert "[1]" in good
    assert "[9]" in text_of("perplexity", wild)
    assert len(wild["output"][0]["results"]) == 3
    assert "[" not in text_of("perplexity", bare)
    assert [item["type"] for item in bare["output"]] == ["message"]


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        (
            "length",
            ["max_tokens", "max_output_tokens", "max_output_tokens", "MAX_TOKENS", "length"],
        ),
        ("context_window", ["model_context_window_exceeded", "incomplete", "", "MAX_TOKENS", ""]),
        ("refusal", ["refusal", "refusal", "refusal", "PROHIBITED_CONTENT", "I cannot help"]),
        ("safety", ["refusal", "content_filter", "refusal", "SAFETY", "content_filter"]),
        ("recitation", ["refusal", "content_filter", "", "RECITATION", "content_filter"]),
        ("blocked", ["refusal", "refusal", "refusal", "blockReason", "content_filter"]),
        ("pause_turn", ["pause_turn", "incomplete", "incomplete", "OTHER", "length"]),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_finish_has_the_providers_word(
    finish: str, words: list[str], stream: bool, http: aiohttp.ClientSession
) -> None:
    """The reason for the end is written as each provider writes it."""
    for provider, word in zip(PROVIDERS, words, strict=True):
        outcome = await call(http, provider, {"finish": finish}, stream=stream)
        assert word in outcome.data.decode()
        assert outcome.line.billed


@pytest.mark.parametrize("value", ["7", "0", "-1", "abc", "3600", "Sun, 22 Nov 2026 10:00:00 GMT"])
async def test_a_429_carries_any_retry_after(value: str, http: aiohttp.ClientSession) -> None:
    """Header values go out as written; the error has the provider's own form."""
    action = {"status": 429, "headers": {"retry-after": value, "retry-after-ms": "250"}}
    outcome = await call(http, "anthropic", action)
    assert outcome.status == 429
    assert outcome.headers["retry-after"] == value
    assert outcome.headers["retry-after-ms"] == "250"
    assert outcome.json["error"]["type"] == "rate_limit_error"
    assert not outcome.line.billed


async def test_a_retry_date_is_counted_from_now(http: aiohttp.ClientSession) -> None:
    """``{http_date+N}`` becomes the date N seconds from now."""
    action = {"status": 429, "headers": {"retry-after": "{http_date+90}"}}
    outcome = await call(http, "openai", action)
    wait = parsedate_to_datetime(outcome.headers["retry-after"]) - parsedate_to_datetime(
        outcome.headers["date"]
    )
    assert 88 <= wait.total_seconds() <= 91


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [400, 402, 403, 404, 408, 409, 413, 500, 502, 503, 504, 529])
async def test_a_scripted_status_has_the_providers_error(
    provider: str, status: int, http: aiohttp.ClientSession
) -> None:
    """Any status comes with a JSON error and charges nothing."""
    outcome = await call(http, provider, {"status": status}, stream=True)
    assert (outcome.status, outcome.line.status) == (status, status)
    assert outcome.json["error"]["message"]
    assert (outcome.line.billed, outcome.line.outcome) == (False, "refused")


async def test_a_520_is_a_page_and_a_body_can_be_given(http: aiohttp.ClientSession) -> None:
    """The page of a proxy, or whatever the script wants."""
    page = await call(http, "openai", {"status": 520})
    assert page.headers["content-type"].startswith("text/html")
    quota = {"error": {"code": "insufficient_quota", "message": "No money."}}
    given = await call(http, "openai", {"status": 429, "body": quota})
    assert given.json == quota


async def test_counts_and_charge_can_be_overridden(http: aiohttp.ClientSession) -> None:
    """Scripted counts are reported and billed; ``billed`` decides whether they are charged."""
    usage = {"input_tokens": 90_000, "output_tokens": 1_000, "reasoning_tokens": 0}
    outcome = await call(http, "anthropic", {"usage": usage})
    assert outcome.json["usage"]["input_tokens"] == 90_000
    assert (outcome.line.input_tokens, outcome.line.output_tokens) == (90_000, 1_000)
    free = await call(http, "anthropic", {"usage": usage, "billed": False})
    assert (free.line.billed, free.line.input_tokens) == (False, 0)


@pytest.mark.parametrize(("stream", "billed"), [(False, True), (True, False)])
async def test_a_client_that_leaves_early_is_on_the_bill(
    stream: bool, billed: bool, http: aiohttp.ClientSession
) -> None:
    """Whoever hangs up pays for a whole answer, but not for a stream that has not begun."""
    async with WireServer({"defaults": {"latency_s": 30}}) as server:
        waiting = asyncio.ensure_future(call_server(http, server, "openai", stream))
        await until(lambda: server.requests)
        waiting.cancel()
        await asyncio.wait([waiting])
        await until(lambda: server.bill)
    assert [(line.outcome, line.billed) for line in server.bill] == [("client_gone", billed)]


async def test_a_server_that_stops_bills_what_is_under_way(http: aiohttp.ClientSession) -> None:
    """Stopping breaks off a waiting answer, and still writes its line."""
    async with WireServer({"defaults": {"latency_s": 30}}) as server:
        waiting = asyncio.ensure_future(call_server(http, server, "openai"))
        await until(lambda: server.requests)
    outcome = await waiting
    assert outcome.status == 0
    assert [line.outcome for line in server.bill] == ["server_stopped"]


async def test_the_pace_of_a_stream_can_be_set(http: aiohttp.ClientSession) -> None:
    """Latency, first event, chunks and tokens per second shape the stream."""
    action = {
        "text": "abcdefgh" * 10,
        "chunks": 5,
        "latency_s": [0.01, 0.02],
        "first_event_s": 0.01,
        "tokens_per_s": 1000,
    }
    outcome = await call(http, "compatible", action, stream=True)
    deltas = [json.loads(e)["choices"][0]["delta"] for e in outcome.events[:-1]]
    assert [d["content"] for d in deltas if d.get("content")] == ["abcdefgh" * 2] * 5
    assert outcome.line.duration_s >= 0.04
