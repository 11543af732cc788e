"""The adapter for servers of one's own, by chat completions."""

from __future__ import annotations

import asyncio
import copy
from contextlib import aclosing

import pytest

from aigenflow.core.errors import MalformedAnswerError, ServerFaultError
from aigenflow.core.models import AgentRequest, AgentType, Backend, FinishReason, Json, Route
from aigenflow.gateway.adapters.compatible import CompatibleGateway, build_body, parse
from aigenflow.gateway.base import Gateway, Timeouts
from tests.contracts.gateway_contract import (
    KEY,
    KOREAN,
    STREAMED,
    GatewayContract,
    LocalServer,
    json_reply,
    sse,
    sse_reply,
)

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
ROUTE = Route(
    agent=AgentType.CLAUDE,
    actor=AgentType.CLAUDE,
    backend=Backend.COMPATIBLE,
    model="qwen",
    options={"keep_alive": "5m"},
)


def completion(content: Json, finish: str | None = "stop", **fields: Json) -> dict[str, Json]:
    message = {"role": "assistant", "content": content, **fields}
    whole = {
        "id": "chat-1",
        "object": "chat.completion",
        "model": "qwen-3",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": USAGE,
    }
    return copy.deepcopy(whole)


def chunk(delta: Json, finish: str | None = None, usage: Json = None) -> tuple[str, Json]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "chat-1", "object": "chat.completion.chunk", "model": "qwen-3"}
    return "", {**head, "choices": choices, "usage": usage}


def test_body() -> None:
    """System text first, the instruction last, options on top; search has no field here."""
    request = AgentRequest(
        agent=AgentType.CLAUDE,
        phase=1,
        task="t",
        prompt="Ask.",
        system="S",
        answer_so_far="half",
        web_search=True,
        options={"seed": 1},
    )
    body = build_body(request, ROUTE)
    roles = [turn["role"] for turn in body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert set(body) == {"model", "messages", "max_tokens", "keep_alive", "seed"}


class TestParse:
    @pytest.mark.parametrize(
        "content",
        [
            "<think>hidden</think>\n\nshown",
            "\n<think>hidden\n</think>shown",
            "hidden, its opening tag swallowed\n</think>\nshown",
            "<thinking>hidden</thinking>shown",
            "<think>hidden</think>sho<think>hidden again</think>wn",
        ],
    )
    def test_thoughts_in_the_text(self, content: str) -> None:
        """Thoughts between tags are not part of the answer."""
        assert parse(completion(content)).content == "shown"

    def test_thoughts_beside_the_text(self) -> None:
        """Thoughts in a field of their own are not part of the answer."""
        assert parse(completion("shown", reasoning_content="hidden")).content == "shown"

    @pytest.mark.parametrize(
        ("content", "fields"),
        [
            ("<think>never ends", {}),
            ("<think>all</think>  ", {}),
            (None, {"reasoning_content": "all"}),
            ([], {}),
        ],
    )
    @pytest.mark.parametrize("finish", ["stop", "length"])
    def test_only_thoughts(self, content: Json, fields: dict[str, Json], finish: str) -> None:
        """An answer of thoughts alone is empty."""
        answer = parse(completion(content, finish, **fields))
        assert (answer.finish_reason, answer.content) == (FinishReason.EMPTY, "")

    @pytest.mark.parametrize(
        ("finish", "reason"),
        [
            ("stop", FinishReason.COMPLETE),
            ("length", FinishReason.LENGTH),
            ("content_filter", FinishReason.FILTERED),
            ("tool_calls", FinishReason.UNKNOWN),
            (None, FinishReason.UNKNOWN),
        ],
    )
    def test_finish_reasons(self, finish: str | None, reason: FinishReason) -> None:
        """Only ``stop`` is a whole answer."""
        answer = parse(completion("x", finish))
        assert (answer.finish_reason, answer.success) == (reason, finish == "stop")

    def test_refusal(self) -> None:
        """A refusal is a refusal, in the model's words."""
        answer = parse(completion(None, refusal="No."))
        assert (answer.finish_reason, answer.content) == (FinishReason.REFUSAL, "No.")

    def test_content_in_parts(self) -> None:
        """Text parts are joined; other parts are no text."""
        parts = [{"type": "text", "text": "a"}, {"type": "thinking", "text": "b"}]
        assert parse(completion(parts)).content == "a"

    def test_cached_and_reasoning_tokens(self) -> None:
        """Parts of the counts are inside their totals."""
        raw = completion("x")
        raw["usage"] = {
            "prompt_tokens": 90,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens": 30,
            "completion_tokens_details": {"reasoning_tokens": 25},
        }
        answer = parse(raw)
        assert (answer.input_tokens, answer.cached_input_tokens) == (90, 64)
        assert (answer.output_tokens, answer.reasoning_tokens) == (30, 25)

    def test_missing_usage(self) -> None:
        """A server that counts nothing is not one that counts zero."""
        raw = completion("x")
        del raw["usage"]
        assert not parse(raw).usage_reported

    def test_an_error_in_place_of_an_answer(self) -> None:
        """An error object under status 200 is that error."""
        with pytest.raises(ServerFaultError):
            parse({"error": {"code": 502, "message": "upstream"}})
        with pytest.raises(MalformedAnswerError):
            parse({"choices": []})


class TestCompatibleGateway(GatewayContract):
    backend = Backend.COMPATIBLE

    def make(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return CompatibleGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def base_url(self, server_url: str) -> str:
        return f"{server_url}/v1"

    def answer(self, words: str, *, cut_at_limit: bool = False) -> Json:
        return completion(words, "length" if cut_at_limit else "stop")

    def stream_head(self, words: str) -> bytes:
        return sse(*(chunk({"content": letter}) for letter in words))

    def stream(self, words: str) -> bytes:
        usage = {"id": "chat-1", "choices": [], "usage": USAGE}
        return self.stream_head(words) + sse(chunk({}, "stop"), ("", usage), done=True)

    def error(self, kind: str, message: str) -> Json:
        return {"error": {"type": kind, "message": message}}

    def models(self) -> Json:
        return {"object": "list", "data": [{"id": "one"}, {"id": "two"}]}

    async def test_stream_settings(self, server: LocalServer, gateway: Gateway) -> None:
        """A stream asks for its usage, and goes to the chat completions path."""
        server.script = [sse_reply(self.stream("ok"))]
        await gateway.send(self.request(STREAMED), self.route())
        (seen,) = server.seen
        assert seen.target == "/v1/chat/completions"
        settings = {"stream": True, "stream_options": {"include_usage": True}}
        assert seen.json == {**build_body(self.request(STREAMED), self.route()), **settings}

    async def test_a_streamed_answer_is_parsed_like_a_plain_one(
        self, server: LocalServer, gateway: Gateway
    ) -> None:
        """Streamed thoughts are as hidden as plain ones, and the raw form is the same."""
        events = [
            chunk({"role": "assistant", "reasoning_content": "hidden"}),
            chunk({"content": "<think>hid"}),
            chunk({"content": "den</think>" + KOREAN}),
            chunk({}, "length", USAGE),
        ]
        server.script = [sse_reply(sse(*events, done=True))]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert (answer.content, answer.finish_reason) == (KOREAN, FinishReason.LENGTH)
        assert answer.raw is not None
        again = parse(answer.raw)
        assert (again.content, again.tokens_used) == (KOREAN, 120)

    async def test_a_letter_in_two_chunks(self, server: LocalServer, gateway: Gateway) -> None:
        """A character whose halves come in two chunks is one character."""
        halves = (b'{"content": "\\ud83d"}', b'{"content": "\\udc4d"}')
        events = b"".join(b'data: {"choices": [{"delta": ' + half + b"}]}\n\n" for half in halves)
        server.script = [sse_reply(events + sse(chunk({}, "stop"), done=True))]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == "\N{THUMBS UP SIGN}"

    async def test_open_after_the_end(self, server: LocalServer) -> None:
        """A connection that stays open after the terminal event does not hold up the answer."""
        server.script = [sse_reply(self.stream("ok"), hang=True)]
        gateway = self.make(self.base_url(server.url), Timeouts())
        async with asyncio.timeout(10), aclosing(gateway):
            answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == "ok"

    async def test_no_usage_in_the_stream(self, server: LocalServer, gateway: Gateway) -> None:
        """A finished stream without counts is an answer without counts."""
        server.script = [sse_reply(self.stream_head("ok") + sse(chunk({}, "stop"), done=True))]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert (answer.content, answer.usage_reported) == ("ok", False)

    async def test_done_without_a_finish_reason(
        self, server: LocalServer, gateway: Gateway
    ) -> None:
        """The end marker alone does not make an answer whole."""
        server.script = [sse_reply(sse(chunk({"content": "half"}), done=True))]
        assert (await self.fault(gateway, STREAMED)).possibly_billed

    async def test_an_error_inside_the_stream(self, server: LocalServer, gateway: Gateway) -> None:
        """A server that breaks down in the middle is a server fault."""
        broken = ("", {"error": {"message": "out of memory", "type": "server_error"}})
        server.script = [sse_reply(self.stream_head("half") + sse(broken))]
        assert type(await self.fault(gateway, STREAMED)) is ServerFaultError

    async def test_without_a_key(
        self, server: LocalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a key none is sent, not even one that lies about in the environment."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another")
        monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-of-an-admin")
        server.script = [json_reply(self.answer("ok"))]
        gateway = CompatibleGateway(api_key=None, base_url=f"{server.url}/v1")
        await gateway.send(self.request(), self.route())
        await gateway.aclose()
        assert "authorization" not in server.seen[0].headers
