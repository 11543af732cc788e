"""The OpenAI adapter: its two pure functions by golden payloads, its calls on the wire."""

from __future__ import annotations

import asyncio
import copy
import json
import unicodedata
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import (
    AuthenticationError,
    CapacityError,
    GatewayError,
    MalformedAnswerError,
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
    Processing,
    Route,
    ServedFrom,
)
from aigenflow.gateway.adapters.openai import OpenAIGateway, build_body, parse
from aigenflow.gateway.base import Gateway, Timeouts
from tests.contracts.gateway_contract import (
    KEY,
    STREAMED,
    GatewayContract,
    LocalServer,
    Reply,
    json_reply,
    sse,
    sse_reply,
)

REQUEST = AgentRequest(agent=AgentType.CHATGPT, phase=1, task="brainstorm", prompt="Ask.")
ROUTE = Route(
    agent=AgentType.CHATGPT, actor=AgentType.CHATGPT, backend=Backend.OPENAI, model="gpt-6.1-sol"
)
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 120,
}


def message(*parts: Json, phase: str | None = None) -> Json:
    return {"type": "message", "role": "assistant", "content": list(parts), "phase": phase}


def text(words: str, *annotations: Json) -> Json:
    return {"type": "output_text", "text": words, "annotations": list(annotations)}


def cite(url: str, end: Json, title: str = "") -> Json:
    return {"type": "url_citation", "url": url, "title": title, "start_index": 0, "end_index": end}


def response(*output: Json, **fields: Json) -> dict[str, Json]:
    whole = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt-6.1-sol-2026-10-01",
        "output": list(output),
        "usage": USAGE,
        "service_tier": "default",
    }
    return copy.deepcopy({**whole, **fields})


class TestBuildBody:
    def test_order(self) -> None:
        """System text, context and instruction stand in this order, for a stable prefix."""
        document = ContextDocument(id="phase1.brainstorm", title="Ideas", text="A\nB")
        request = AgentRequest(
            agent=AgentType.CHATGPT,
            phase=2,
            task="t",
            prompt="Ask.",
            system="Be brief.",
            context=(document,),
            max_output_tokens=77,
        )
        body = build_body(request, ROUTE)
        assert body["instructions"] == "Be brief."
        assert body["max_output_tokens"] == 77
        assert body["model"] == "gpt-6.1-sol"
        (turn,) = body["input"]
        assert turn["role"] == "user"
        assert turn["content"].startswith("<<<DATA ")
        assert turn["content"].endswith(">>>\n\nAsk.")

    def test_nothing_unasked(self) -> None:
        """Without system text, search or options none of these is in the body, nor sampling."""
        assert set(build_body(REQUEST, ROUTE)) == {"model", "input", "max_output_tokens", "store"}

    def test_an_answer_is_continued(self) -> None:
        """A cut answer is sent back as the model's own words with a plea to go on."""
        request = AgentRequest(
            agent=AgentType.CHATGPT,
            phase=1,
            task="t",
            prompt="Ask.",
            answer_so_far="절반",
            language=Language.KO,
        )
        turns = build_body(request, ROUTE)["input"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
        assert turns[1]["content"] == "절반"
        assert "이어서" in turns[2]["content"]

    def test_options(self) -> None:
        """The route's options go on top of the body, and the request's on top of these."""
        route = Route(
            agent=AgentType.CHATGPT,
            actor=AgentType.CHATGPT,
            backend=Backend.OPENAI,
            model="m",
            options={"service_tier": "flex", "store": True},
        )
        request = AgentRequest(
            agent=AgentType.CHATGPT,
            phase=1,
            task="t",
            prompt="Ask.",
            web_search=True,
            options={"service_tier": "auto"},
        )
        body = build_body(request, route)
        assert (body["service_tier"], body["store"]) == ("auto", True)
        assert body["tools"] == [{"type": "web_search"}]


class TestParse:
    def test_cached_and_reasoning_tokens(self) -> None:
        """Parts are named, and totals contain them."""
        usage = {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100},
            "output_tokens": 300,
            "output_tokens_details": {"reasoning_tokens": 250},
        }
        answer = parse(response({"type": "reasoning"}, message(text("ok")), usage=usage))
        assert (answer.input_tokens, answer.output_tokens, answer.tokens_used) == (1000, 300, 1300)
        assert (answer.cached_input_tokens, answer.cache_write_tokens) == (600, 100)
        assert answer.reasoning_tokens == 250
        assert answer.content == "ok"
        assert (answer.model, answer.response_id) == ("gpt-6.1-sol-2026-10-01", "resp_1")

    @pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None}, {"input_tokens": 5}, "x"])
    def test_missing_usage_is_not_zero(self, usage: Json) -> None:
        """Counts that did not come are said to be missing."""
        assert not parse(response(message(text("ok")), usage=usage)).usage_reported

    def test_zero_usage_is_reported(self) -> None:
        """Counts of zero are counts."""
        usage = {"input_tokens": 0, "output_tokens": 0}
        assert parse(response(message(text("ok")), usage=usage)).usage_reported

    @pytest.mark.parametrize("count", [-5, float("nan"), float("inf"), True, "12", [], {}])
    def test_impossible_counts(self, count: Json) -> None:
        """A count that is none is zero, never an exception."""
        usage = {"input_tokens": count, "output_tokens": count}
        assert parse(response(message(text("ok")), usage=usage)).tokens_used == 0

    def test_parts_never_exceed_their_total(self) -> None:
        """A total smaller than its parts is raised to them."""
        usage = {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 30},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 9},
        }
        answer = parse(response(message(text("ok")), usage=usage))
        assert (answer.input_tokens, answer.output_tokens) == (30, 9)

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("max_output_tokens", FinishReason.LENGTH),
            ("content_filter", FinishReason.FILTERED),
            ("steered", FinishReason.UNKNOWN),
            (None, FinishReason.UNKNOWN),
        ],
    )
    def test_incomplete(self, reason: str | None, finish: FinishReason) -> None:
        """An incomplete answer keeps its text and its reason, and is no success."""
        details = {"reason": reason}
        answer = parse(
            response(message(text("half")), status="incomplete", incomplete_details=details)
        )
        assert (answer.finish_reason, answer.success, answer.content) == (finish, False, "half")

    def test_refusal(self) -> None:
        """A refusal is a refusal, in the model's words."""
        answer = parse(response(message({"type": "refusal", "refusal": "I will not."})))
        assert answer.finish_reason is FinishReason.REFUSAL
        assert not answer.success
        assert answer.content == "I will not."

    def test_only_reasoning(self) -> None:
        """Thoughts alone are an empty answer, and none of them is content."""
        thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}]}
        answer = parse(response(thought))
        assert answer.finish_reason is FinishReason.EMPTY
        assert answer.content == ""

    def test_commentary_is_not_the_answer(self) -> None:
        """What the model says before it searches is left out."""
        answer = parse(
            response(
                message(text("Let me look."), phase="commentary"),
                message(text("Found."), phase="final_answer"),
            )
        )
        assert answer.content == "Found."

    def test_flex(self) -> None:
        """The tier that served the call is known from the answer, not from the request."""
        assert parse(response(message(text("ok")))).served_from is ServedFrom.LIVE
        flex = parse(response(message(text("ok")), service_tier="flex"))
        assert flex.served_from is ServedFrom.FLEX

    def test_searches_are_counted(self) -> None:
        """Searches count, opened pages do not."""
        search = {"type": "web_search_call", "action": {"type": "search", "query": "q"}}
        opened = {"type": "web_search_call", "action": {"type": "open_page"}}
        answer = parse(response(search, opened, search, message(text("ok"))))
        assert answer.search_calls == 2

    def test_failed_response(self) -> None:
        """A failed response is the error it names, with the tokens it has cost."""
        error = {"code": "rate_limit_exceeded", "message": "slow down"}
        with pytest.raises(RateLimitedError):
            parse(response(status="failed", error=error))
        with pytest.raises(ServerFaultError) as caught:
            parse(response(status="failed", error={"code": "server_error", "message": "sorry"}))
        assert caught.value.response is not None
        assert caught.value.response.tokens_used == 120
        assert caught.value.possibly_billed

    def test_failed_for_policy(self) -> None:
        """A response stopped by a policy is filtered, not a fault to try again."""
        error = {"code": "misalignment_policy_violation", "message": "no"}
        answer = parse(response(status="failed", error=error))
        assert answer.finish_reason is FinishReason.FILTERED

    @pytest.mark.parametrize("raw", [{}, {"output": None}, {"status": "completed", "output": 3}])
    def test_malformed(self, raw: dict[str, Json]) -> None:
        """What has no output is no answer."""
        with pytest.raises(MalformedAnswerError):
            parse(raw)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["type", "text", "content", "annotations", "url", "end_index", "usage"]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_json(self, junk: Json) -> None:
        """Whatever JSON stands in an answer, the outcome is an answer or one of our errors."""
        for raw in (
            response(junk),
            response(message(junk)),
            response(message(text("x", junk)), usage=junk, error=junk),
            {"output": junk, "error": junk, "status": junk},
        ):
            with suppress(GatewayError):
                assert parse(raw).tokens_used >= 0


class TestCitations:
    def test_markers_count_distinct_urls(self) -> None:
        """One URL is one number; several sources of a span stand side by side."""
        words = "하나는 참이다. 둘도 참이다."
        answer = parse(
            response(
                message(
                    text(
                        words,
                        cite("https://a.example", 8, "A"),
                        cite("https://b.example", 8, "B"),
                        cite("https://a.example", len(words)),
                    )
                )
            )
        )
        assert answer.content == "하나는 참이다.[1][2] 둘도 참이다.[1]"
        assert [c.url for c in answer.citations] == ["https://a.example", "https://b.example"]
        assert [c.title for c in answer.citations] == ["A", "B"]

    def test_the_same_source_twice_at_one_place(self) -> None:
        """A source named twice for one span is marked once."""
        source = cite("https://a.example", 2)
        assert parse(response(message(text("ab", source, source)))).content == "ab[1]"

    def test_positions_are_code_points(self) -> None:
        """Emoji and Hangul before a span do not shift its marker."""
        words = "👍 한국. 끝"
        answer = parse(response(message(text(words, cite("https://a.example", 5)))))
        assert answer.content == "👍 한국.[1] 끝"

    def test_several_parts_and_messages(self) -> None:
        """Positions count within their own part; numbers count through the whole answer."""
        answer = parse(
            response(
                message(text("ab", cite("u1", 2)), text("cd", cite("u2", 1))),
                message(text("ef", cite("u1", 2))),
            )
        )
        assert answer.content == "ab[1]c[2]d\n\nef[1]"

    @pytest.mark.parametrize("end", [None, 99, "3", float("nan"), True])
    def test_odd_positions(self, end: Json) -> None:
        """A position that is none marks the end of the text."""
        assert parse(response(message(text("abc", cite("u", end))))).content == "abc[1]"

    @given(
        words=st.text(alphabet="한글가각힣 ab.👍🏽é\u0301", max_size=30),
        ends=st.lists(st.integers(min_value=-3, max_value=70), max_size=5),
    )
    def test_markers_never_break_a_syllable(self, words: str, ends: list[int]) -> None:
        """Without its markers the text is the original, and no marker splits a letter."""
        decomposed = unicodedata.normalize("NFD", words)
        notes = [cite("u", end) for end in ends]
        content = parse(response(message(text(decomposed + ".", *notes)))).content
        assert content.replace("[1]", "") == decomposed + "."
        assert unicodedata.normalize("NFC", content).replace("[1]", "") == (
            unicodedata.normalize("NFC", decomposed) + "."
        )


class TestOpenAIGateway(GatewayContract):
    backend = Backend.OPENAI

    def make(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return OpenAIGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def base_url(self, server_url: str) -> str:
        return f"{server_url}/v1"

    def answer(self, words: str, *, cut_at_limit: bool = False) -> Json:
        if cut_at_limit:
            details = {"reason": "max_output_tokens"}
            return response(message(text(words)), status="incomplete", incomplete_details=details)
        return response(message(text(words)))

    def stream_head(self, words: str) -> bytes:
        created = {"type": "response.created", "response": response(status="in_progress")}
        deltas = [{"type": "response.output_text.delta", "delta": letter} for letter in words]
        return sse(*((event["type"], event) for event in [created, *deltas]))

    def stream(self, words: str) -> bytes:
        end = {"type": "response.completed", "response": self.answer(words)}
        return self.stream_head(words) + sse(("response.completed", end))

    def error(self, kind: str, message: str) -> Json:
        return {"error": {"type": "some_error", "code": kind, "message": message, "param": None}}

    def models(self) -> Json:
        return {"object": "list", "data": [{"id": "one"}, {"id": "two"}]}

    @pytest.mark.parametrize("limit", [STREAMED, 512], ids=["streamed", "plain"])
    @pytest.mark.parametrize(
        ("told", "served_from"),
        [
            ("flex", ServedFrom.FLEX),
            ("default", ServedFrom.LIVE),
            ("priority", ServedFrom.PRIORITY),
            (None, ServedFrom.LIVE),
        ],
    )
    async def test_the_answer_says_at_which_tier_it_was_served(
        self,
        server: LocalServer,
        gateway: Gateway,
        limit: int,
        told: str | None,
        served_from: ServedFrom,
    ) -> None:
        """Flex is asked for, and priced as flex exactly where OpenAI says so."""
        raw = {**self.answer("x"), "service_tier": told}
        event = ("response.completed", {"type": "response.completed", "response": raw})
        server.script = [sse_reply(sse(event)) if limit == STREAMED else json_reply(raw)]
        request = replace(self.request(limit), processing=Processing.FLEX)
        answer = await gateway.send(request, self.route())
        assert answer.served_from is served_from
        assert server.seen[0].json["service_tier"] == "flex"

    @pytest.mark.parametrize("limit", [STREAMED, 512], ids=["streamed", "plain"])
    async def test_no_room_at_the_flex_tier(
        self, server: LocalServer, gateway: Gateway, limit: int
    ) -> None:
        """Nothing was billed, and the full price helps: that is no ordinary 429."""
        error = {"code": "resource_unavailable", "type": "requests", "message": "Try later."}
        server.script = [json_reply({"error": error}, status=429)]
        request = replace(self.request(limit), processing=Processing.FLEX)
        with pytest.raises(CapacityError) as caught:
            await gateway.send(request, self.route())
        assert not caught.value.possibly_billed
        assert caught.value.hint

    @pytest.mark.parametrize("limit", [STREAMED, 512], ids=["streamed", "plain"])
    async def test_a_model_without_a_flex_tier(
        self, server: LocalServer, gateway: Gateway, limit: int
    ) -> None:
        """The full price helps there as well; any other rejection stays one."""
        refusals = ["Unsupported service_tier: flex", "Unknown parameter: 'x'."]
        server.script = [
            json_reply({"error": {"message": one, "type": "invalid_request_error"}}, status=400)
            for one in (*refusals, refusals[0])
        ]
        request = replace(self.request(limit), processing=Processing.FLEX)
        with pytest.raises(CapacityError):
            await gateway.send(request, self.route())
        with pytest.raises(RejectedError):
            await gateway.send(request, self.route())
        with pytest.raises(RejectedError):
            await gateway.send(self.request(limit), self.route())

    async def test_flex_is_waited_for(self, server: LocalServer) -> None:
        """A flex answer may be silent for longer than a live one is allowed to be."""
        limits = Timeouts(connect_s=2, first_event_s=0.05, idle_s=0.05, total_s=0.1)
        slow = Reply(
            headers={"content-type": "application/json"},
            pieces=(json_reply(self.answer("x")).body,),
            late=0.3,
        )
        server.script = [slow]
        gateway = self.make(self.base_url(server.url), limits)
        with pytest.raises(StalledError):
            await gateway.send(self.request(), self.route())
        request = replace(self.request(), processing=Processing.FLEX)
        assert (await gateway.send(request, self.route())).content == "x"
        await gateway.aclose()

    async def test_path_and_body(self, server: LocalServer, gateway: Gateway) -> None:
        """The body on the wire is the pure one, plus the stream flag where it is streamed."""
        server.script = [json_reply(self.answer("ok")), sse_reply(self.stream("ok"))]
        await gateway.send(self.request(), self.route())
        await gateway.send(self.request(STREAMED), self.route())
        plain, streamed = server.seen
        assert (plain.method, plain.target) == ("POST", "/v1/responses")
        assert plain.json == build_body(self.request(), self.route())
        assert streamed.json == {**build_body(self.request(STREAMED), self.route()), "stream": True}
        assert plain.headers["authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize(
        ("event", "kind"),
        [
            ({"type": "error", "code": "server_error", "message": "sorry"}, ServerFaultError),
            ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, RateLimitedError),
            ({"type": "error", "error": {"type": "overloaded"}}, ServerFaultError),
            (
                {
                    "type": "response.failed",
                    "response": response(status="failed", error={"code": "server_error"}),
                },
                ServerFaultError,
            ),
            ({"type": "response.completed"}, MalformedAnswerError),
            ({"type": "response.completed", "response": {}}, MalformedAnswerError),
        ],
    )
    async def test_error_events(
        self, server: LocalServer, gateway: Gateway, event: Json, kind: type[GatewayError]
    ) -> None:
        """An error after a good start is that error, and no part of the answer survives."""
        server.script = [sse_reply(self.stream_head("half") + sse((event["type"], event)))]
        assert type(await self.fault(gateway, STREAMED)) is kind

    @pytest.mark.parametrize("data", [b"{broken", b'"\xff"', b"[" * 100_000])
    async def test_broken_events(self, server: LocalServer, gateway: Gateway, data: bytes) -> None:
        """An event that cannot be decoded makes the answer malformed."""
        server.script = [sse_reply(self.stream_head("half") + b"data: " + data + b"\n\n", size=999)]
        assert isinstance(await self.fault(gateway, STREAMED), MalformedAnswerError)

    async def test_error_events_do_not_tell_the_key(self, server: LocalServer) -> None:
        """A key of an unusual shape is told by no error, inside a stream or outside."""
        key = "Zq8CANARY-of-a-shape-nobody-knows"
        event = {"type": "error", "code": "server_error", "message": f"{key} is odd"}
        server.script = [sse_reply(sse(("error", event)))]
        gateway = OpenAIGateway(api_key=key, base_url=f"{server.url}/v1")
        error = await self.fault(gateway, STREAMED)
        await gateway.aclose()
        assert "is odd" in error.message
        assert "CANARY" not in error.message

    @pytest.mark.parametrize("broken", [b'"\\ud83d"', b"NaN", b"[1e999]"])
    async def test_what_cannot_be_stored(
        self, server: LocalServer, gateway: Gateway, broken: bytes
    ) -> None:
        """Half a surrogate pair or NaN, which no journal can hold, makes the answer malformed."""
        body = json.dumps(self.answer("ok")).encode().replace(b'"resp_1"', broken)
        server.script = [Reply(headers={"content-type": "application/json"}, body=body)]
        assert isinstance(await self.fault(gateway), MalformedAnswerError)

    async def test_an_end_that_comes_late(self, server: LocalServer, gateway: Gateway) -> None:
        """A body that ends a moment after its terminal event keeps the connection usable."""
        server.script = [replace(sse_reply(self.stream("ok")), late=0.03)]
        for _ in range(2):
            await gateway.send(self.request(STREAMED), self.route())
        assert server.connections == 1

    async def test_open_after_the_end(self, server: LocalServer) -> None:
        """A connection that stays open after the terminal event does not hold up the answer."""
        server.script = [sse_reply(self.stream("ok"), hang=True)]
        gateway = self.make(self.base_url(server.url), Timeouts())
        async with asyncio.timeout(10), aclosing(gateway):
            answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == "ok"

    async def test_pings_and_unknown_events(self, server: LocalServer, gateway: Gateway) -> None:
        """Comments, unknown events and events after the end change nothing."""
        noise = b": ping\n\n" + sse(("surprise", {"type": "response.surprise", "delta": "x"}))
        server.script = [sse_reply(noise + self.stream("ok") + noise + self.stream("more"))]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == "ok"

    async def test_an_event_of_megabytes(self, server: LocalServer, gateway: Gateway) -> None:
        """A single event may be as large as the answer."""
        words = "가" * 1_000_000
        end = {"type": "response.completed", "response": self.answer(words)}
        server.script = [sse_reply(sse(("response.completed", end)), size=65_536)]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == words

    @pytest.mark.parametrize("key", [None, "", "  ", "sk-\n1", "열쇠"])
    async def test_unusable_keys(self, key: str | None) -> None:
        """A missing or impossible key is told before anything is sent."""
        gateway = OpenAIGateway(api_key=key, base_url="http://127.0.0.1:1/v1")
        with pytest.raises(AuthenticationError) as caught:
            await gateway.send(REQUEST, ROUTE)
        assert "key variable" in caught.value.hint

    async def test_settings_of_the_environment(
        self, server: LocalServer, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The user's OpenAI environment reaches nobody but OpenAI, and moves no call."""
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
        monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
        monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-secret")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gate: gate-secret")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        server.script = [json_reply(self.answer("ok"))]
        await gateway.send(self.request(), self.route())
        assert "secret" not in json.dumps(server.seen[0].headers)

    async def test_a_lone_surrogate(self, server: LocalServer, gateway: Gateway) -> None:
        """Text that has no bytes is refused with a clean error, and nothing is sent."""
        request = AgentRequest(agent=AgentType.CHATGPT, phase=1, task="t", prompt="bad \ud800 text")
        with pytest.raises(RejectedError) as caught:
            await gateway.send(request, self.route())
        assert server.seen == []
        assert "bad" not in caught.value.message
