"""The Anthropic adapter: its pure functions by golden payloads, its calls on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import (
    AuthenticationError,
    ConnectionFailedError,
    GatewayError,
    MalformedAnswerError,
    QuotaExhaustedError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
    StalledError,
)
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    ContextDocument,
    FinishReason,
    Json,
    Language,
    Route,
    ServedFrom,
)
from aigenflow.gateway.adapters._faults import Fault, fault_of, translate
from aigenflow.gateway.adapters.anthropic import (
    AnthropicGateway,
    MessageAssembly,
    build_body,
    fault_table,
    merge_turns,
    parse,
)
from aigenflow.gateway.base import Gateway, Timeouts
from tests.contracts.gateway_contract import (
    KEY,
    KOREAN,
    STREAMED,
    GatewayContract,
    LocalServer,
    Reply,
    json_reply,
    sse,
    sse_reply,
)

REQUEST = AgentRequest(agent=AgentType.CLAUDE, phase=1, task="validate", prompt="Ask.")
ROUTE = Route(
    agent=AgentType.CLAUDE,
    actor=AgentType.CLAUDE,
    backend=Backend.ANTHROPIC,
    model="claude-sonnet-5-5",
)
USAGE = {
    "input_tokens": 60,
    "cache_read_input_tokens": 30,
    "cache_creation_input_tokens": 10,
    "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 3},
    "output_tokens": 20,
    "output_tokens_details": {"thinking_tokens": 5},
    "service_tier": "standard",
}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
SEARCH = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "한국 시장 규모"},
}
RESULT = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "url": "https://a.example/1",
            "title": "A",
            "encrypted_content": "eA==",
            "page_age": None,
        }
    ],
}


def text(words: str, *citations: Json) -> Json:
    return {"type": "text", "text": words, "citations": list(citations) or None}


def cite(url: str, title: str | None = "", quote: str = "") -> Json:
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title,
        "cited_text": quote,
        "encrypted_index": "aQ==",
    }


def message(*content: Json, stop: str | None = "end_turn", **fields: Json) -> dict[str, Json]:
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": USAGE,
    }
    return copy.deepcopy({**whole, **fields})


def events(whole: dict[str, Json], size: int = 3) -> Iterator[tuple[str, Json]]:
    """The events in which the provider would stream ``whole``."""
    start = {**whole, "content": [], "stop_reason": None}
    yield "message_start", {"type": "message_start", "message": {**start}}
    yield "ping", {"type": "ping"}
    for index, block in enumerate(whole["content"]):
        yield from block_events(index, block, size)
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": whole["usage"]["output_tokens"], "input_tokens": None}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def block_events(index: int, block: Json, size: int) -> Iterator[tuple[str, Json]]:
    empty = dict(block)
    deltas: list[Json] = []
    if block["type"] == "text":
        empty |= {"text": "", "citations": None}
        deltas = [
            {"type": "text_delta", "text": block["text"][i : i + size]}
            for i in range(0, len(block["text"]), size)
        ]
        deltas += [{"type": "citations_delta", "citation": c} for c in block["citations"] or ()]
    elif block["type"] == "thinking":
        empty |= {"thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    elif block["type"] == "server_tool_use":
        empty |= {"input": {}}
        written = json.dumps(block["input"], ensure_ascii=False)
        deltas = [
            {"type": "input_json_delta", "partial_json": written[i : i + size]}
            for i in range(0, len(written), size)
        ]
    yield (
        "content_block_start",
        {"type": "content_block_start", "index": index, "content_block": empty},
    )
    for delta in deltas:
        data = {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_delta", data
    yield "content_block_stop", {"type": "content_block_stop", "index": index}


def assembled(whole: dict[str, Json]) -> dict[str, Json]:
    assembly = MessageAssembly()
    for _name, event in events(whole):
        assembly.add(event)
    assert assembly.is_complete
    return assembly.message()


class TestBuildBody:
    def test_order(self) -> None:
        """System text, context and instruction stand in this order, for a stable prefix."""
        document = ContextDocument(id="phase1.brainstorm", title="Ideas", text="A\nB")
        request = AgentRequest(
            agent=AgentType.CLAUDE,
            phase=2,
            task="t",
            prompt="Ask.",
            system="Be brief.",
            context=(document,),
            max_output_tokens=77,
        )
        body = build_body(request, ROUTE)
        assert (body["model"], body["max_tokens"]) == ("claude-sonnet-5-5", 77)
        assert body["system"] == [{"type": "text", "text": "Be brief."}]
        (turn,) = body["messages"]
        assert turn["role"] == "user"
        context, prompt = turn["content"]
        assert context["text"].startswith("<<<DATA ")
        assert prompt == {"type": "text", "text": "Ask."}

    def test_nothing_unasked(self) -> None:
        """Without system text, search or options none of these is in the body, nor sampling."""
        assert set(build_body(REQUEST, ROUTE)) == {"model", "max_tokens", "messages"}

    def test_an_answer_is_continued(self) -> None:
        """A cut answer is sent back with a plea to go on: the last message is the user's."""
        request = AgentRequest(
            agent=AgentType.CLAUDE,
            phase=1,
            task="t",
            prompt="Ask.",
            answer_so_far="절반 ",
            language=Language.KO,
        )
        turns = build_body(request, ROUTE)["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
        assert turns[1]["content"] == [{"type": "text", "text": "절반 "}]
        assert "이어서" in turns[2]["content"][0]["text"]

    def test_search_is_bounded(self) -> None:
        """Web search is the provider's tool, and cannot run up a bill without end."""
        request = AgentRequest(
            agent=AgentType.CLAUDE, phase=1, task="t", prompt="Ask.", web_search=True
        )
        (tool,) = build_body(request, ROUTE)["tools"]
        assert tool["name"] == "web_search"
        assert tool["max_uses"] > 0

    def test_options_of_the_request_win(self) -> None:
        """Options are laid over the body, those of the request over those of the route."""
        route = Route(
            agent=AgentType.CLAUDE,
            actor=AgentType.CLAUDE,
            backend=Backend.ANTHROPIC,
            model="m",
            options={"thinking": {"type": "disabled"}, "service_tier": "auto"},
        )
        request = AgentRequest(
            agent=AgentType.CLAUDE,
            phase=1,
            task="t",
            prompt="p",
            options={"thinking": {"type": "adaptive"}},
        )
        body = build_body(request, route)
        assert body["thinking"] == {"type": "adaptive"}
        assert body["service_tier"] == "auto"

    @pytest.mark.parametrize(
        ("system", "context", "marks"),
        [
            (4096, 0, ["system"]),
            (4095, 0, []),
            (4095, 1, ["context"]),
            (5000, 5000, ["system", "context"]),
            (0, 4096, ["context"]),
        ],
    )
    def test_cache_breakpoints(self, system: int, context: int, marks: list[str]) -> None:
        """A prefix is marked for the provider's cache once it is large enough to be taken."""
        documents = (ContextDocument(id="a", title="t", text="x" * context),) if context else ()
        request = AgentRequest(
            agent=AgentType.CLAUDE,
            phase=1,
            task="t",
            prompt="p" * 9000,
            system="s" * system,
            context=documents,
        )
        body = build_body(request, ROUTE)
        found = ["system"] if "cache_control" in (body.get("system") or [{}])[0] else []
        *before, prompt = body["messages"][0]["content"]
        found += ["context"] if any("cache_control" in block for block in before) else []
        assert found == marks
        assert "cache_control" not in prompt

    def test_every_document_is_a_block_of_its_own(self) -> None:
        """A task that hears one document more begins with the blocks of the one before it."""
        documents = tuple(
            ContextDocument(id=f"d{number}", title="t", text=f"{number}" * 4096)
            for number in range(6)
        )
        request = AgentRequest(agent=AgentType.CLAUDE, phase=1, task="t", prompt="p", system="s")
        first, second = (
            build_body(replace(request, context=documents[:count]), ROUTE)["messages"][0]["content"]
            for count in (5, 6)
        )
        texts = [block["text"] for block in first[:-1]]
        assert texts == [block["text"] for block in second[:5]]
        marked = [number for number, block in enumerate(second) if "cache_control" in block]
        assert marked == [3, 4, 5]


class TestParse:
    def test_usage(self) -> None:
        """Input counts cache reads and writes in; output already includes thinking."""
        answer = parse(message(text("hi")))
        assert answer.input_tokens == 60 + 30 + 10
        assert answer.cached_input_tokens == 30
        assert (answer.cache_write_tokens, answer.cache_write_1h_tokens) == (10, 3)
        assert (answer.output_tokens, answer.reasoning_tokens) == (20, 5)
        assert answer.tokens_used == 120
        assert answer.usage_reported
        assert answer.estimated_cost is None

    def test_usage_without_a_total_of_writes(self) -> None:
        """Cache writes that are only told by lifetime are counted all the same."""
        usage = {
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_creation_input_tokens": None,
            "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 3},
        }
        assert parse(message(text("hi"), usage=usage)).cache_write_tokens == 10

    @pytest.mark.parametrize(
        "usage", [None, {}, {"input_tokens": 9}, {"input_tokens": 9, "output_tokens": None}]
    )
    def test_usage_missing(self, usage: Json) -> None:
        """A count that is missing is not zero tokens."""
        answer = parse(message(text("hi"), usage=usage))
        assert not answer.usage_reported
        assert answer.output_tokens == 0

    def test_thinking_is_not_content(self) -> None:
        """Neither thinking nor search blocks get into the text."""
        answer = parse(message(THINKING, text("one "), text("two")))
        assert answer.content == "one two"

    @pytest.mark.parametrize(
        ("stop", "finish"),
        [
            ("end_turn", FinishReason.COMPLETE),
            ("stop_sequence", FinishReason.COMPLETE),
            ("max_tokens", FinishReason.LENGTH),
            ("model_context_window_exceeded", FinishReason.LENGTH),
            ("pause_turn", FinishReason.PAUSED),
            ("refusal", FinishReason.REFUSAL),
            ("tool_use", FinishReason.UNKNOWN),
            ("something_new", FinishReason.UNKNOWN),
            (None, FinishReason.UNKNOWN),
        ],
    )
    def test_finish(self, stop: str | None, finish: FinishReason) -> None:
        """Each stop reason has its meaning; only a whole answer is a success."""
        answer = parse(message(text("hi"), stop=stop))
        assert answer.finish_reason is finish
        assert answer.success == (finish is FinishReason.COMPLETE)

    def test_every_stop_reason_of_the_sdk_is_known(self) -> None:
        """The SDK names no stop reason that the table leaves to chance."""
        from typing import get_args

        from anthropic.types import StopReason

        from aigenflow.gateway.adapters.anthropic import _FINISH

        assert set(get_args(StopReason)) - set(_FINISH) == {"tool_use"}

    @pytest.mark.parametrize("content", [[], None, [THINKING], [text(" \n")]])
    @pytest.mark.parametrize("stop", ["end_turn", "max_tokens"])
    def test_empty(self, content: Json, stop: str) -> None:
        """An answer without text is empty, also when thinking used up the limit."""
        answer = parse({**message(stop=stop), "content": content})
        assert answer.finish_reason is FinishReason.EMPTY
        assert not answer.success

    def test_citations(self) -> None:
        """Each cited passage carries its numbers; a source has one number wherever it is cited."""
        answer = parse(
            message(
                text("The sky is blue", cite("https://a.example", "A", "blue sky")),
                text(". Grass is green ", cite("https://b.example"), cite("https://a.example")),
                text("and so on", cite("https://b.example", "later")),
            )
        )
        assert answer.content == "The sky is blue[1]. Grass is green[1][2] and so on[2]"
        assert [source.url for source in answer.citations] == [
            "https://a.example",
            "https://b.example",
        ]
        assert (answer.citations[0].title, answer.citations[0].quote) == ("A", "blue sky")

    def test_a_search_parts_paragraphs(self) -> None:
        """Words before and after a search do not run together."""
        answer = parse(message(text("I look it up."), SEARCH, RESULT, text("Found"), text(".")))
        assert answer.content == "I look it up.\n\nFound."

    def test_citations_without_a_url_or_title(self) -> None:
        """A citation of a document has no URL to list; a missing title is empty."""
        answer = parse(
            message(text("x", {"type": "char_location"}, cite("https://a.example", None)))
        )
        assert answer.content == "x[1]"
        assert answer.citations[0].title == ""

    def test_searches_are_counted(self) -> None:
        """Searches are billed beside the tokens."""
        usage = {**USAGE, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}}
        assert parse(message(text("x"), usage=usage)).search_calls == 2

    def test_served_as_a_batch(self) -> None:
        """An answer of a batch says so, which halves its price."""
        usage = {**USAGE, "service_tier": "batch"}
        assert parse(message(text("x"), usage=usage)).served_from is ServedFrom.BATCH

    @pytest.mark.parametrize(
        "raw",
        [
            {},
            {"content": "text"},
            {"content": [1]},
            {"content": [{"text": "no type"}]},
            message(text("x"), usage={"input_tokens": -1}),
            message(text("x"), usage={"input_tokens": "many"}),
            message(text("half a \ud800 pair")),
        ],
    )
    def test_malformed(self, raw: dict[str, Json]) -> None:
        """What is not a message is an error that names the place and quotes nothing."""
        with pytest.raises(MalformedAnswerError) as caught:
            parse(raw)
        assert "many" not in caught.value.message
        assert "half" not in caught.value.message

    def test_raw_is_kept(self) -> None:
        """The provider's JSON stays as it came."""
        raw = message(THINKING, text("x"))
        assert parse(raw).raw == message(THINKING, text("x"))


class TestAssembly:
    @pytest.mark.parametrize(
        "whole",
        [
            message(text("한글 조각 하나")),
            message(THINKING, text("b", cite("https://a.example"), cite("https://b.example"))),
            message(SEARCH, RESULT, text("found", cite("https://a.example/1"))),
            message({"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}}),
            message(stop="max_tokens"),
        ],
    )
    def test_same_as_in_one_piece(self, whole: dict[str, Json]) -> None:
        """The events of a message make that message again."""
        assert assembled(whole) == whole

    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=5))
    def test_text_survives(self, texts: list[str]) -> None:
        """Whatever the text and its pieces, the assembled answer reads the same."""
        whole = message(*(text(words) for words in texts))
        assert parse(assembled(whole)).content == parse(whole).content

    @pytest.mark.parametrize(
        "broken",
        [
            [{"type": "content_block_start", "index": 0, "content_block": text("")}],
            [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}],
            [{"type": "message_start", "message": {}}, {"type": "message_start", "message": {}}],
            [
                {"type": "message_start", "message": {}},
                {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta"}},
            ],
            [
                {"type": "message_start", "message": {}},
                {"type": "content_block_start", "index": 0, "content_block": text("")},
                {"type": "content_block_start", "index": 0, "content_block": text("")},
            ],
            [{"no": "type"}],
        ],
    )
    def test_out_of_order(self, broken: list[Json]) -> None:
        """Events that do not fit together make no answer."""
        assembly = MessageAssembly()
        *before, last = broken
        for event in before:
            assembly.add(event)
        with pytest.raises(MalformedAnswerError):
            assembly.add(last)

    def test_unknown_events_are_ignored(self) -> None:
        """An event or a delta of a kind we do not know changes nothing."""
        assembly = MessageAssembly()
        for _name, event in list(events(message(text("hi"))))[:3]:
            assembly.add(event)
        assembly.add({"type": "novelty"})
        assembly.add({"type": "content_block_delta", "index": 0, "delta": {"type": "novelty"}})
        assert assembly.characters == 0

    def test_running_totals(self) -> None:
        """Counts at the end replace those of the start; one that is missing keeps its value."""
        assembly = MessageAssembly()
        start = {"usage": {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 4}}
        assembly.add({"type": "message_start", "message": start})
        usage = {"output_tokens": 30, "input_tokens": 11, "cache_read_input_tokens": None}
        assembly.add({"type": "message_delta", "delta": {}, "usage": usage})
        assert assembly.message()["usage"] == {
            "input_tokens": 11,
            "output_tokens": 30,
            "cache_read_input_tokens": 4,
        }


class TestMergeTurns:
    def test_one_turn_stays_as_it_came(self) -> None:
        """A single message is not touched."""
        whole = message(text("x"))
        assert merge_turns([whole]) is whole

    def test_usage_is_summed(self) -> None:
        """Blocks follow one another, counts add up also inside, the last word on stopping holds."""
        paused = message(text("a"), SEARCH, stop="pause_turn")
        rest = message(RESULT, text("b"), usage={**USAGE, "server_tool_use": None})
        whole = merge_turns([paused, rest])
        answer = parse(whole)
        assert whole["content"] == [text("a"), SEARCH, RESULT, text("b")]
        assert (answer.input_tokens, answer.output_tokens) == (200, 40)
        assert (answer.cache_write_tokens, answer.cache_write_1h_tokens) == (20, 6)
        assert answer.success


class TestContract(GatewayContract):
    """What every gateway promises, and what only this provider does, on the wire."""

    backend = Backend.ANTHROPIC
    agent = AgentType.CLAUDE
    model = "claude-sonnet-5-5"

    def make(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return AnthropicGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def answer(self, text: str, *, cut_at_limit: bool = False) -> Json:
        block = {"type": "text", "text": text, "citations": None}
        return message(block, stop="max_tokens" if cut_at_limit else "end_turn")

    def stream(self, text: str) -> bytes:
        return sse(*events(self.answer(text)))

    def stream_head(self, text: str) -> bytes:
        return sse(*list(events(self.answer(text)))[:4])

    def error(self, kind: str, message: str) -> Json:
        return {"type": "error", "error": {"type": "api_error", "message": message}}

    def models(self) -> Json:
        names = ["one", "two"]
        return {"data": [{"type": "model", "id": name} for name in names], "has_more": False}

    def streamed(self, whole: dict[str, Json]) -> Reply:
        return sse_reply(sse(*events(whole)))

    async def test_request_on_the_wire(self, server: LocalServer, gateway: Gateway) -> None:
        """The body is what ``build_body`` says, under the provider's path and version."""
        server.script = [json_reply(self.answer("ok")), self.streamed(self.answer("ok"))]
        for limit in (512, STREAMED):
            await gateway.send(self.request(limit), self.route())
        plain, streamed = server.seen
        assert plain.target == streamed.target == "/v1/messages"
        assert plain.headers["anthropic-version"]
        assert plain.headers["authorization"] == f"Bearer {KEY}"
        assert plain.json == build_body(self.request(), self.route())
        assert streamed.json == {
            **build_body(self.request(STREAMED), self.route()),
            "stream": True,
        }

    @pytest.mark.parametrize("streams", [False, True])
    async def test_a_paused_turn_goes_on(
        self, server: LocalServer, gateway: Gateway, streams: bool
    ) -> None:
        """A paused turn is sent back as it is and goes on; its usage is summed."""
        paused = message(text("I search."), SEARCH, stop="pause_turn")
        rest = message(RESULT, text("Found", cite("https://a.example/1")))
        reply = self.streamed if streams else json_reply
        server.script = [reply(paused), reply(rest)]
        answer = await gateway.send(self.request(STREAMED if streams else 512), self.route())
        assert answer.content == "I search.\n\nFound[1]"
        assert answer.success
        assert answer.citations[0].agent is AgentType.CLAUDE
        assert (answer.input_tokens, answer.output_tokens) == (200, 40)
        assert answer.calls == (parse(paused).counts, parse(rest).counts)
        first, second = (seen.json["messages"] for seen in server.seen)
        assert second == [*first, {"role": "assistant", "content": paused["content"]}]

    async def test_a_turn_without_counts(self, server: LocalServer, gateway: Gateway) -> None:
        """The sum of some turns is not the count of all."""
        paused = message(text("one "), stop_reason="pause_turn")
        server.script = [json_reply(paused), json_reply(message(text("two"), usage=None))]
        answer = await gateway.send(self.request(), self.route())
        assert answer.content == "one two"
        assert not answer.usage_reported

    async def test_a_turn_that_never_ends(self, server: LocalServer, gateway: Gateway) -> None:
        """After three continuations the answer is returned as paused, with all it cost."""
        server.script = [json_reply(message(text("a"), SEARCH, stop="pause_turn"))]
        answer = await gateway.send(self.request(), self.route())
        assert answer.finish_reason is FinishReason.PAUSED
        assert not answer.success
        assert len(server.seen) == 4
        assert answer.output_tokens == 80
        last = server.seen[-1].json["messages"]
        assert [turn["role"] for turn in last] == ["user", "assistant"]
        assert len(last[1]["content"]) == 6

    async def test_a_continuation_that_fails(self, server: LocalServer, gateway: Gateway) -> None:
        """An error after a paused turn tells what the turn cost."""
        paused = message(text("a"), SEARCH, stop="pause_turn")
        server.script = [json_reply(paused), json_reply(self.error("", "busy"), status=529)]
        error = await self.fault(gateway)
        assert isinstance(error, ServerFaultError)
        assert error.response is not None
        assert error.response.tokens_used == 120
        assert error.response.counts_by_call == (parse(paused).counts,)
        assert error.possibly_billed

    @pytest.mark.parametrize(
        ("kind", "error", "status"),
        [
            ("overloaded_error", ServerFaultError, 529),
            ("rate_limit_error", RateLimitedError, 429),
            ("api_error", ServerFaultError, 500),
            ("authentication_error", AuthenticationError, None),
            ("billing_error", QuotaExhaustedError, None),
            ("invalid_request_error", RejectedError, None),
        ],
    )
    async def test_error_event(
        self,
        server: LocalServer,
        gateway: Gateway,
        kind: str,
        error: type[GatewayError],
        status: int | None,
    ) -> None:
        """An error inside a stream, after a 200, means what it would have meant before."""
        event = {"type": "error", "error": {"type": kind, "message": f"because {KEY}"}}
        head = list(events(self.answer("half")))[:4]
        server.script = [sse_reply(sse(*head, ("error", event)))]
        caught = await self.fault(gateway, STREAMED)
        assert type(caught) is error
        assert caught.status == status
        assert "CANARY" not in caught.message

    @pytest.mark.parametrize("words", [b"NaN", b'"half a \\ud83d pair"', b"[" * 5000])
    async def test_json_that_cannot_be_kept(
        self, server: LocalServer, gateway: Gateway, words: bytes
    ) -> None:
        """An answer that could not be written to disk again is malformed, wherever it says so."""
        whole = json.dumps(self.answer("ok")).encode()
        body = whole[:-1] + b', "novelty": ' + words + b"}"
        server.script = [Reply(headers={"content-type": "application/json"}, body=body)]
        assert isinstance(await self.fault(gateway), MalformedAnswerError)

    @pytest.mark.parametrize("key", ["plainword12345", "  plainword12345\n"])
    async def test_a_key_of_any_shape_is_kept_out_of_errors(
        self, server: LocalServer, key: str
    ) -> None:
        """The key is not quoted, also where it does not look like one or was copied badly."""
        gateway = AnthropicGateway(api_key=key, base_url=server.url)
        event = {"type": "error", "error": {"type": "api_error", "message": "plainword12345"}}
        server.script = [sse_reply(sse(("error", event)))]
        error = await self.fault(gateway, STREAMED)
        await gateway.aclose()
        assert isinstance(error, ServerFaultError)
        assert "plainword" not in error.message

    async def test_pings_alone(self, server: LocalServer) -> None:
        """Keep-alives before the answer begins are no sign of life."""
        gateway = self.make(server.url, Timeouts(first_event_s=0.2, idle_s=30))
        server.script = [sse_reply(sse(("ping", {"type": "ping"})) * 3, hang=True)]
        async with asyncio.timeout(10):
            error = await self.fault(gateway, STREAMED)
        await gateway.aclose()
        assert isinstance(error, StalledError)

    async def test_pings_of_a_thinking_model(self) -> None:
        """Keep-alives inside an answer are a sign of life: the model is thinking."""
        ping = sse(("ping", {"type": "ping"}))
        first, *rest = (sse(event) for event in events(self.answer("ok")))

        async def think(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            form = b"content-type: text/event-stream\r\nconnection: close"
            writer.write(b"HTTP/1.1 200 OK\r\n" + form + b"\r\n\r\n" + first)
            for _ in range(8):
                await asyncio.sleep(0.1)
                writer.write(ping)
            writer.write(b"".join(rest))
            writer.close()

        async with await asyncio.start_server(think, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            gateway = self.make(url, Timeouts(idle_s=0.5))
            answer = await gateway.send(self.request(STREAMED), self.route())
            await gateway.aclose()
        assert answer.content == "ok"

    async def test_nothing_is_awaited_after_the_end(
        self, server: LocalServer, gateway: Gateway
    ) -> None:
        """A paid answer is not lost because the server keeps the connection open."""
        server.script = [sse_reply(self.stream(KOREAN), hang=True)]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == KOREAN

    async def test_spend_limit(self, server: LocalServer, gateway: Gateway) -> None:
        """A spend limit comes as a 429 but does not pass by waiting."""
        inner = {
            "type": "rate_limit_error",
            "message": "You have reached your specified API usage limits.",
            "details": {"error_code": "enforced_spend_limit_reached"},
        }
        server.script = [json_reply({"type": "error", "error": inner}, status=429)]
        assert isinstance(await self.fault(gateway), QuotaExhaustedError)

    async def test_a_host_that_does_not_take_connections(self) -> None:
        """The limit for connecting is a limit of its own, and nothing is billed."""
        with socket.socket() as listener, contextlib.ExitStack() as stack:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(3):  # fills the queue of connections that nobody accepts
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            gateway = self.make(url, Timeouts(connect_s=0.2, first_event_s=30))
            error = await self.fault(gateway)
            await gateway.aclose()
        assert isinstance(error, ConnectionFailedError)
        assert not error.possibly_billed

    async def test_a_large_event(self, server: LocalServer, gateway: Gateway) -> None:
        """One event of several megabytes is read whole."""
        words = "가" * 1_000_000
        whole = self.answer(words)
        body = sse(*((name, event) for name, event in events(whole, size=len(words))))
        server.script = [sse_reply(body, size=60_000)]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == words

    async def test_the_environment_changes_nothing(
        self, server: LocalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stray variables of the SDK and of proxies move neither the host nor the key."""
        for name, value in {
            "ANTHROPIC_API_KEY": "sk-other",
            "ANTHROPIC_AUTH_TOKEN": "other",
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
            "ANTHROPIC_CUSTOM_HEADERS": "Authorization: Bearer other\nX-Api-Key: other",
            "HTTP_PROXY": "http://127.0.0.1:1",
            "ALL_PROXY": "http://127.0.0.1:1",
            "NO_PROXY": "",
        }.items():
            monkeypatch.setenv(name, value)
        gateway = self.make(server.url, Timeouts())
        server.script = [json_reply(self.answer("ok"))]
        await gateway.send(self.request(), self.route())
        await gateway.aclose()
        assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
        assert "other" not in str(server.seen[0].headers)

    async def test_the_official_host_is_not_taken_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a base URL the address is the provider's, whatever the environment says."""
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
        gateway = AnthropicGateway(api_key=KEY)
        assert gateway._client().base_url.host == "api.anthropic.com"
        await gateway.aclose()

    @pytest.mark.parametrize("key", [None, "", "  ", "키", "a\nb"])
    async def test_no_usable_key(
        self, server: LocalServer, key: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a key nothing is sent, and none is looked for elsewhere."""
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-other")
        gateway = AnthropicGateway(api_key=key, base_url=server.url)
        with pytest.raises(AuthenticationError):
            await gateway.send(self.request(), self.route())
        await gateway.aclose()
        assert server.seen == []


class TestFaultTable:
    def test_every_exception_of_the_sdk_has_a_row(self) -> None:
        """No class of the SDK or its transport is left untranslated."""
        import aiohttp
        import anthropic
        import httpx2

        roots = [
            anthropic.AnthropicError,
            httpx2.HTTPError,
            httpx2.StreamError,
            httpx2.InvalidURL,
            aiohttp.ClientError,
        ]
        found = list(classes(*roots))
        assert len(found) > 60
        for kind in found:
            error = kind.__new__(kind)
            fault = fault_of(error, fault_table())
            if fault is not Fault.STATUS:
                ours = translate(error, fault_table(), fail, provider="anthropic")
                assert isinstance(ours, GatewayError), kind

    def test_what_the_sdk_exports_is_below_its_roots(self) -> None:
        """Walking the roots reaches every exception that the SDK names in public."""
        import anthropic

        named = [getattr(anthropic, name) for name in dir(anthropic)]
        errors = [k for k in named if isinstance(k, type) and issubclass(k, Exception)]
        assert all(issubclass(kind, anthropic.AnthropicError) for kind in errors)

    def test_never_sent_outweighs_its_wrapper(self) -> None:
        """A wrapper that hides a refused connection is not taken for a lost answer."""
        import aiohttp
        import anthropic
        import httpx2

        wrapper = anthropic.APIConnectionError(request=httpx2.Request("POST", "http://x"))
        wrapper.__cause__ = httpx2.ConnectError("no")
        wrapper.__cause__.__cause__ = aiohttp.ClientConnectorError.__new__(
            aiohttp.ClientConnectorError
        )
        assert fault_of(wrapper, fault_table()) is Fault.UNREACHED
        wrapper.__cause__.__cause__ = aiohttp.ServerDisconnectedError()
        error = translate(wrapper, fault_table(), fail, provider="anthropic")
        assert isinstance(error, ConnectionFailedError)
        assert error.possibly_billed


def fail(error: Exception) -> GatewayError:
    raise AssertionError(error)


def classes(*roots: type[Exception]) -> Iterator[type[Exception]]:
    for root in roots:
        yield root
        yield from classes(*root.__subclasses__())
