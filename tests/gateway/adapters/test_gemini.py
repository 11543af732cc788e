"""The Gemini adapter: its pure functions by golden payloads, its calls on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import (
    AuthenticationError,
    CapacityError,
    ConnectionFailedError,
    GatewayError,
    MalformedAnswerError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
    TransientError,
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
from aigenflow.gateway.adapters._faults import Fault, fault_of, translate
from aigenflow.gateway.adapters.gemini import (
    AnswerAssembly,
    GeminiGateway,
    build_body,
    fault_table,
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

REQUEST = AgentRequest(agent=AgentType.GEMINI, phase=2, task="deep_search", prompt="Ask.")
ROUTE = Route(
    agent=AgentType.GEMINI,
    actor=AgentType.GEMINI,
    backend=Backend.GEMINI,
    model="gemini-3.8-flash",
)
USAGE = {
    "promptTokenCount": 90,
    "toolUsePromptTokenCount": 10,
    "cachedContentTokenCount": 40,
    "candidatesTokenCount": 15,
    "thoughtsTokenCount": 5,
    "totalTokenCount": 120,
}


def response(*parts: Json, finish: str | None = "STOP", **fields: Json) -> dict[str, Json]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    whole = {
        "candidates": [candidate],
        "usageMetadata": USAGE,
        "modelVersion": "gemini-3.8-flash",
        "responseId": "r1",
    }
    return copy.deepcopy({**whole, **fields})


def grounded(whole: dict[str, Json], *supports: Json, urls: tuple[str, ...]) -> dict[str, Json]:
    whole["candidates"][0]["groundingMetadata"] = {
        "webSearchQueries": ["한국 시장", "growth"],
        "groundingChunks": [{"web": {"uri": url, "title": f"title of {url}"}} for url in urls],
        "groundingSupports": list(supports),
    }
    return whole


def support(words: str, end: int, *chunks: int, part: int | None = None) -> Json:
    """A passage by its words and the byte at which it ends."""
    segment: Json = {"startIndex": end - len(words.encode()), "endIndex": end, "text": words}
    if part is not None:
        segment["partIndex"] = part
    return {"segment": segment, "groundingChunkIndices": list(chunks)}


def chunks(whole: dict[str, Json], size: int = 3) -> Iterator[dict[str, Json]]:
    """The chunks in which the provider would stream ``whole``; only the last says it is over."""
    (candidate,) = whole["candidates"]
    ids = {name: whole[name] for name in ("modelVersion", "responseId")}
    for part in candidate["content"]["parts"]:
        for i in range(0, max(len(part["text"]), 1), size):
            piece = {**part, "text": part["text"][i : i + size]}
            content = {"role": "model", "parts": [piece]}
            early = {"promptTokenCount": 90}
            yield {"candidates": [{"content": content, "index": 0}], "usageMetadata": early, **ids}
    last = {name: value for name, value in candidate.items() if name != "content"}
    yield {"candidates": [last], "usageMetadata": whole["usageMetadata"], **ids}


def assembled(*given: Json) -> dict[str, Json]:
    assembly = AnswerAssembly()
    for chunk in given:
        assembly.add(chunk)
    assert assembly.is_complete
    return assembly.answer()


class TestBuildBody:
    def test_order(self) -> None:
        """System text, context and instruction stand in this order, for a stable prefix."""
        document = ContextDocument(id="phase1.brainstorm", title="Ideas", text="A\nB")
        request = AgentRequest(
            agent=AgentType.GEMINI,
            phase=2,
            task="t",
            prompt="Ask.",
            system="Be brief.",
            context=(document,),
            max_output_tokens=77,
        )
        body = build_body(request, ROUTE)
        assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert body["generationConfig"] == {"maxOutputTokens": 77}
        (turn,) = body["contents"]
        context, prompt = turn["parts"]
        assert turn["role"] == "user"
        assert context["text"].startswith("<<<DATA ")
        assert prompt == {"text": "Ask."}

    def test_nothing_unasked(self) -> None:
        """Without system text, search or options none of these is in the body, nor sampling."""
        body = build_body(REQUEST, ROUTE)
        assert set(body) == {"contents", "generationConfig"}
        assert set(body["generationConfig"]) == {"maxOutputTokens"}

    def test_an_answer_is_continued(self) -> None:
        """A cut answer is sent back as the model's own words with a plea to go on."""
        request = AgentRequest(
            agent=AgentType.GEMINI,
            phase=1,
            task="t",
            prompt="Ask.",
            answer_so_far="절반",
            language=Language.KO,
        )
        turns = build_body(request, ROUTE)["contents"]
        assert [turn["role"] for turn in turns] == ["user", "model", "user"]
        assert turns[1]["parts"] == [{"text": "절반"}]
        assert "이어서" in turns[2]["parts"][0]["text"]

    def test_options_keep_what_they_do_not_name(self) -> None:
        """An option inside an object leaves the object's other fields alone."""
        route = Route(
            agent=AgentType.GEMINI,
            actor=AgentType.GEMINI,
            backend=Backend.GEMINI,
            model="m",
            options={"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
        )
        request = AgentRequest(
            agent=AgentType.GEMINI,
            phase=1,
            task="t",
            prompt="p",
            options={"generationConfig": {"seed": 7}, "serviceTier": "flex"},
        )
        body = build_body(request, route)
        assert body["generationConfig"] == {
            "maxOutputTokens": 4096,
            "thinkingConfig": {"thinkingBudget": 0},
            "seed": 7,
        }
        assert body["serviceTier"] == "flex"
        assert route.options == {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}


class TestParse:
    def test_usage(self) -> None:
        """Tool results are extra input, thoughts extra output; cached tokens are inside."""
        answer = parse(response({"text": "hi"}))
        assert (answer.input_tokens, answer.cached_input_tokens) == (100, 40)
        assert (answer.output_tokens, answer.reasoning_tokens) == (20, 5)
        assert answer.tokens_used == 120 == USAGE["totalTokenCount"]
        assert answer.usage_reported

    def test_usage_missing(self) -> None:
        """No counts are not zero tokens."""
        answer = parse(response({"text": "hi"}, usageMetadata=None))
        assert not answer.usage_reported
        assert answer.tokens_used == 0

    def test_thoughts_are_not_content(self) -> None:
        """Thoughts do not get into the text, nor do parts without any."""
        answer = parse(
            response(
                {"text": "hm", "thought": True},
                {"text": "one "},
                {"executableCode": {"code": "1"}},
                {"text": "two"},
            )
        )
        assert answer.content == "one two"

    @pytest.mark.parametrize(
        ("finish", "meaning"),
        [
            ("STOP", FinishReason.COMPLETE),
            ("MAX_TOKENS", FinishReason.LENGTH),
            ("CONTINUATION", FinishReason.LENGTH),
            ("SAFETY", FinishReason.FILTERED),
            ("RECITATION", FinishReason.FILTERED),
            ("BLOCKLIST", FinishReason.FILTERED),
            ("PROHIBITED_CONTENT", FinishReason.FILTERED),
            ("SPII", FinishReason.FILTERED),
            ("OTHER", FinishReason.UNKNOWN),
            ("NOVELTY", FinishReason.UNKNOWN),
            (None, FinishReason.UNKNOWN),
        ],
    )
    def test_finish(self, finish: str | None, meaning: FinishReason) -> None:
        """Each finish reason has its meaning; only a whole answer is a success."""
        answer = parse(response({"text": "hi"}, finish=finish))
        assert answer.finish_reason is meaning
        assert answer.success == (meaning is FinishReason.COMPLETE)

    def test_every_finish_reason_of_the_sdk_is_known(self) -> None:
        """The SDK names no finish reason that the table leaves to chance."""
        from google.genai.types import FinishReason as Theirs

        from aigenflow.gateway.adapters.gemini import _FINISH

        assert {reason.value for reason in Theirs} == set(_FINISH)

    def test_blocked_prompt(self) -> None:
        """A prompt that was blocked has no candidates; what it cost is counted."""
        answer = parse(
            {
                "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                "usageMetadata": {"promptTokenCount": 9},
            }
        )
        assert answer.finish_reason is FinishReason.FILTERED
        assert not answer.success
        assert answer.input_tokens == 9

    def test_filtered_without_content(self) -> None:
        """A filtered answer may have no content at all."""
        answer = parse({"candidates": [{"finishReason": "SAFETY"}]})
        assert answer.finish_reason is FinishReason.FILTERED

    @pytest.mark.parametrize("parts", [[], [{"text": " \n"}], [{"text": "hm", "thought": True}]])
    @pytest.mark.parametrize("finish", ["STOP", "MAX_TOKENS"])
    def test_empty(self, parts: list[Json], finish: str) -> None:
        """An answer without text is empty, also when thoughts used up the limit."""
        answer = parse(response(*parts, finish=finish))
        assert answer.finish_reason is FinishReason.EMPTY
        assert (answer.success, answer.content) == (False, "")

    @pytest.mark.parametrize(
        ("tier", "served"),
        [("flex", ServedFrom.FLEX), ("standard", ServedFrom.LIVE), (None, ServedFrom.LIVE)],
    )
    def test_tier(self, tier: str | None, served: ServedFrom) -> None:
        """The tier that served an answer decides its price."""
        usage = {**USAGE, "serviceTier": tier}
        assert parse(response({"text": "x"}, usageMetadata=usage)).served_from is served

    @pytest.mark.parametrize(
        "raw",
        [
            {},
            {"candidates": []},
            {"candidates": "many"},
            {"candidates": [{"content": {"parts": [{"text": 5}]}}]},
            response({"text": "half a \ud800 pair"}),
            response({"text": "x"}, usageMetadata={"promptTokenCount": -1}),
            {"promptFeedback": {}},
        ],
    )
    def test_malformed(self, raw: dict[str, Json]) -> None:
        """What is not an answer is an error that quotes nothing of it."""
        with pytest.raises(MalformedAnswerError) as caught:
            parse(raw)
        assert "half" not in caught.value.message


class TestCitations:
    def test_korean(self) -> None:
        """Offsets count bytes of UTF-8, so a mark stands behind the word, not inside it."""
        first, second = "시장은 12% 성장했다.", " 경쟁사는 셋이다."
        end = len(first.encode())
        whole = grounded(
            response({"text": first + second}),
            support(first, end, 0),
            support(second, end + len(second.encode()), 1, 0),
            urls=("https://a.example", "https://b.example"),
        )
        answer = parse(whole)
        assert answer.content == f"{first}[1]{second}[1][2]"
        assert [source.url for source in answer.citations] == [
            "https://a.example",
            "https://b.example",
        ]
        assert answer.citations[0].title == "title of https://a.example"
        assert answer.search_calls == 2

    def test_one_number_for_one_address(self) -> None:
        """Chunks of one page are one source."""
        whole = grounded(
            response({"text": "ab"}),
            support("a", 1, 0),
            support("b", 2, 1, 2),
            urls=("https://a.example", "https://a.example", "https://c.example"),
        )
        answer = parse(whole)
        assert answer.content == "a[1]b[1][2]"
        assert len(answer.citations) == 2

    def test_a_source_that_supports_nothing(self) -> None:
        """A source that no passage rests on is not listed, so numbers have no gaps."""
        whole = grounded(
            response({"text": "ab"}),
            support("ab", 2, 1),
            urls=("https://unused.example", "https://b.example"),
        )
        answer = parse(whole)
        assert answer.content == "ab[1]"
        assert [source.url for source in answer.citations] == ["https://b.example"]

    def test_sources_without_passages(self) -> None:
        """Where no passages are marked the sources are listed all the same."""
        whole = grounded(response({"text": "ab"}), urls=("https://a.example",))
        answer = parse(whole)
        assert answer.content == "ab"
        assert len(answer.citations) == 1

    def test_offsets_within_a_part(self) -> None:
        """Offsets count from the part they name."""
        whole = grounded(
            response({"text": "앞. "}, {"text": "뒤. 끝."}),
            support("뒤.", 4, 0, part=1),
            urls=("https://a.example",),
        )
        assert parse(whole).content == "앞. 뒤.[1] 끝."

    def test_offsets_behind_thoughts(self) -> None:
        """Where thoughts stand first and are not counted, the quoted words decide."""
        whole = grounded(
            response({"text": "long thoughts", "thought": True}, {"text": "앞. 뒤. 끝."}),
            support("뒤.", 8, 0),
            urls=("https://a.example",),
        )
        assert parse(whole).content == "앞. 뒤.[1] 끝."

    def test_wrong_offsets(self) -> None:
        """Where offsets do not fit the quoted words, the words are looked for."""
        whole = grounded(
            response({"text": "앞. 뒤. 끝."}),
            support("뒤.", 999, 0),
            urls=("https://a.example",),
        )
        assert parse(whole).content == "앞. 뒤.[1] 끝."

    def test_repeated_words(self) -> None:
        """Where the quoted words stand twice, the offset says which are meant."""
        whole = grounded(
            response({"text": "뒤. 뒤. 끝."}),
            support("뒤.", 9, 0),
            urls=("https://a.example",),
        )
        assert parse(whole).content == "뒤. 뒤.[1] 끝."

    def test_chunks_that_are_no_pages(self) -> None:
        """A chunk without an address is no source."""
        whole = grounded(response({"text": "ab"}), support("a", 1, 0, 1), urls=("", "https://b"))
        whole["candidates"][0]["groundingMetadata"]["groundingChunks"].insert(0, {"maps": {}})
        answer = parse(whole)
        assert (answer.content, answer.citations) == ("ab", ())

    def test_chunk_index_out_of_range(self) -> None:
        """A passage that names a source that is not there gets no mark."""
        whole = grounded(response({"text": "ab"}), support("a", 1, 7), urls=("https://a.example",))
        assert parse(whole).content == "ab"

    @given(
        st.text("한é👍a ", min_size=1).filter(str.strip),
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2), st.booleans()), max_size=6),
    )
    def test_marks_change_nothing_else(self, text: str, ends: list[tuple[int, int, bool]]) -> None:
        """Whatever the offsets, taking the marks out gives the text back."""
        supports = [
            support("zz" if quoted else "", end, chunk, part=chunk) for end, chunk, quoted in ends
        ]
        urls = ("https://a.example", "https://b.example", "https://c.example")
        answer = parse(grounded(response({"text": text}), *supports, urls=urls))
        assert re.sub(r"\[[123]\]", "", answer.content) == text


class TestAssembly:
    @pytest.mark.parametrize("size", [1, 3, 1000])
    def test_same_as_in_one_piece(self, size: int) -> None:
        """The chunks of an answer make that answer again."""
        whole = grounded(
            response({"text": "생각", "thought": True}, {"text": "앞. 뒤. 끝."}),
            support("뒤.", 8, 0),
            urls=("https://a.example",),
        )
        assert assembled(*chunks(whole, size)) == whole

    def test_counts_are_running_totals(self) -> None:
        """Each chunk repeats the counts so far: the last word holds, nothing is summed."""
        whole = response({"text": "abcdef"})
        assert parse(assembled(*chunks(whole))).tokens_used == 120

    def test_grounding_in_several_chunks(self) -> None:
        """What a later chunk leaves out of the grounding stays as it was."""
        first = {"candidates": [{"groundingMetadata": {"groundingChunks": [1]}}]}
        last = {"candidates": [{"finishReason": "STOP", "groundingMetadata": {"x": 2}}]}
        (candidate,) = assembled(first, last)["candidates"]
        assert candidate["groundingMetadata"] == {"groundingChunks": [1], "x": 2}

    def test_parts_that_are_no_text(self) -> None:
        """A part of another kind stays a part of its own."""
        code = {"executableCode": {"code": "1"}}
        whole = response({"text": "a"}, code, {"text": "b"}, {"text": "c"})
        (candidate,) = assembled(whole)["candidates"]
        assert candidate["content"]["parts"] == [{"text": "a"}, code, {"text": "bc"}]

    @pytest.mark.parametrize(
        "chunk",
        [{"candidates": 5}, {"candidates": [5]}, {"candidates": [{"content": {"parts": [5]}}]}],
    )
    def test_not_a_chunk(self, chunk: Json) -> None:
        """A chunk of another shape makes no answer."""
        with pytest.raises(MalformedAnswerError):
            AnswerAssembly().add(chunk)

    def test_a_blocked_prompt_is_the_end(self) -> None:
        """Feedback on the prompt without a reason to block is not."""
        assembly = AnswerAssembly()
        assembly.add({"promptFeedback": {"safetyRatings": []}})
        assert not assembly.is_complete
        assembly.add({"promptFeedback": {"blockReason": "SAFETY"}})
        assert assembly.is_complete


class TestContract(GatewayContract):
    """What every gateway promises, and what only this provider does, on the wire."""

    backend = Backend.GEMINI
    agent = AgentType.GEMINI
    model = "gemini-3.8-flash"

    def make(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return GeminiGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def answer(self, text: str, *, cut_at_limit: bool = False) -> Json:
        return response({"text": text}, finish="MAX_TOKENS" if cut_at_limit else "STOP")

    def stream(self, text: str) -> bytes:
        return sse(*(("", chunk) for chunk in chunks(self.answer(text))))

    def stream_head(self, text: str) -> bytes:
        return sse(*(("", chunk) for chunk in list(chunks(self.answer(text)))[:-1]))

    def error(self, kind: str, message: str) -> Json:
        return {"error": {"code": 0, "message": message, "status": "UNKNOWN"}}

    def models(self) -> Json:
        return {"models": [{"name": "models/one"}, {"name": "models/two"}]}

    async def test_request_on_the_wire(self, server: LocalServer, gateway: Gateway) -> None:
        """The body is what ``build_body`` says; the key is in its header and nowhere else."""
        request = AgentRequest(
            agent=AgentType.GEMINI,
            phase=2,
            task="deep_search",
            prompt="무엇이?",
            system="S",
            web_search=True,
            options={"generationConfig": {"responseSchema": {"max_items": 1}}, "novelty": [1]},
        )
        server.script = [
            Reply(headers={"content-type": "text/event-stream"}, body=self.stream("x"))
        ]
        await gateway.send(request, self.route())
        (seen,) = server.seen
        assert seen.target == "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
        assert seen.headers["x-goog-api-key"] == KEY
        assert seen.json == build_body(request, self.route())

    async def test_plain_request_on_the_wire(self, server: LocalServer, gateway: Gateway) -> None:
        """A short answer is asked for in one piece, and its JSON is kept as it came."""
        whole = {**self.answer("x"), "novelty": {"deep": 1}}
        server.script = [json_reply(whole)]
        answer = await gateway.send(self.request(), self.route())
        assert answer.raw == whole
        assert server.seen[0].target == "/v1beta/models/gemini-3.8-flash:generateContent"
        assert server.seen[0].json == build_body(self.request(), self.route())

    async def test_search(self, server: LocalServer, gateway: Gateway) -> None:
        """Sources come through a stream with their passages, split inside characters."""
        whole = grounded(
            response({"text": "생각", "thought": True}, {"text": KOREAN}),
            support(KOREAN, len(KOREAN.encode()), 0),
            urls=("https://a.example",),
        )
        server.script = [sse_reply(sse(*(("", chunk) for chunk in chunks(whole))))]
        told: list[int] = []
        answer = await gateway.send(self.request(STREAMED), self.route(), told.append)
        assert told[-1] == len(KOREAN)
        assert answer.content == f"{KOREAN}[1]"
        assert answer.citations[0].agent is AgentType.GEMINI
        assert answer.reasoning_tokens == 5

    @pytest.mark.parametrize("limit", [512, STREAMED])
    async def test_blocked_prompt(self, server: LocalServer, gateway: Gateway, limit: int) -> None:
        """A blocked prompt is an answer, with its reason, and not a fault."""
        whole = {
            "promptFeedback": {"blockReason": "SAFETY"},
            "usageMetadata": {"promptTokenCount": 9},
        }
        server.script = [json_reply(whole) if limit == 512 else sse_reply(sse(("", whole)))]
        answer = await gateway.send(self.request(limit), self.route())
        assert answer.finish_reason is FinishReason.FILTERED
        assert answer.input_tokens == 9

    @pytest.mark.parametrize(
        ("status", "name", "kind"),
        [
            (503, "UNAVAILABLE", ServerFaultError),
            (429, "RESOURCE_EXHAUSTED", RateLimitedError),
            (400, "INVALID_ARGUMENT", RejectedError),
        ],
    )
    async def test_error_inside_a_stream(
        self,
        server: LocalServer,
        gateway: Gateway,
        status: int,
        name: str,
        kind: type[GatewayError],
    ) -> None:
        """An error inside a stream, after a 200, means what it would have meant before."""
        error = {"error": {"code": status, "message": f"because {KEY}", "status": name}}
        server.script = [sse_reply(self.stream_head("half") + sse(("", error)))]
        caught = await self.fault(gateway, STREAMED)
        assert type(caught) is kind
        assert caught.status == status
        assert caught.possibly_billed == (kind is ServerFaultError)
        assert "CANARY" not in caught.message

    @pytest.mark.parametrize(
        "data", [5, [1], {"candidates": 5}, {"candidates": [5]}, {"error": {"message": "x"}}]
    )
    async def test_a_stream_of_something_else(
        self, server: LocalServer, gateway: Gateway, data: Json
    ) -> None:
        """Events that are no chunks are malformed, however the SDK stumbles over them."""
        server.script = [sse_reply(sse(("", data)))]
        assert isinstance(await self.fault(gateway, STREAMED), MalformedAnswerError)

    async def test_the_wait_google_asks_for(self, server: LocalServer, gateway: Gateway) -> None:
        """Google writes the wait into the error's details, not into a header."""
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
        inner = {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [retry],
        }
        server.script = [json_reply({"error": inner}, status=429)]
        error = await self.fault(gateway)
        assert isinstance(error, RateLimitedError)
        assert error.retry_after_s == 34

    async def test_a_wrong_key(self, server: LocalServer, gateway: Gateway) -> None:
        """Google answers a wrong key with a 400."""
        inner = {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{"reason": "API_KEY_INVALID"}],
        }
        server.script = [json_reply({"error": inner}, status=400)]
        assert isinstance(await self.fault(gateway), AuthenticationError)

    @pytest.mark.parametrize("limit", [512, STREAMED])
    async def test_nothing_is_sent_twice(self, limit: int) -> None:
        """A lost connection is reported: the SDK's own second attempt would be paid unseen."""
        requests = 0

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            gateway = self.make(url, Timeouts(first_event_s=30))
            error = await self.fault(gateway, limit)
            await gateway.aclose()
        assert isinstance(error, ConnectionFailedError)
        assert error.possibly_billed
        assert requests == 1

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

    async def test_a_checkpoint_is_not_followed(
        self, server: LocalServer, gateway: Gateway
    ) -> None:
        """An answer cut at the limit of one request is returned as such, after one request."""
        whole = self.answer("half")
        whole["candidates"][0] |= {"finishReason": "CONTINUATION", "continuationToken": "dA=="}
        server.script = [sse_reply(sse(*(("", chunk) for chunk in chunks(whole))))]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.finish_reason is FinishReason.LENGTH
        assert len(server.seen) == 1

    @pytest.mark.parametrize("limit", [STREAMED, 100], ids=["streamed", "plain"])
    @pytest.mark.parametrize(
        ("told", "served_from"),
        [
            ("flex", ServedFrom.FLEX),
            ("FLEX", ServedFrom.FLEX),
            ("standard", ServedFrom.LIVE),
            ("priority", ServedFrom.PRIORITY),
            (None, ServedFrom.LIVE),
        ],
    )
    async def test_the_header_says_at_which_tier_it_was_served(
        self,
        server: LocalServer,
        gateway: Gateway,
        limit: int,
        told: str | None,
        served_from: ServedFrom,
    ) -> None:
        """Flex is asked for, and priced as flex exactly where Google says so."""
        request = replace(self.request(limit), processing=Processing.FLEX)
        reply = sse_reply(self.stream("x")) if limit == STREAMED else json_reply(self.answer("x"))
        headers = {} if told is None else {"X-Gemini-Service-Tier": told}
        server.script = [replace(reply, headers={**reply.headers, **headers})]
        answer = await gateway.send(request, self.route())
        assert answer.served_from is served_from
        assert server.seen[0].json["serviceTier"] == "flex"
        assert answer.raw is not None
        assert parse(answer.raw).served_from is served_from

    async def test_a_model_without_a_flex_tier(self, server: LocalServer, gateway: Gateway) -> None:
        """The full price helps there as well; any other rejection stays one."""
        said = ["Service tier FLEX is not supported for this model.", "Unknown name 'x'."]
        server.script = [
            json_reply({"error": {"code": 400, "message": one}}, status=400) for one in said
        ]
        request = replace(self.request(STREAMED), processing=Processing.FLEX)
        with pytest.raises(CapacityError):
            await gateway.send(request, self.route())
        with pytest.raises(RejectedError):
            await gateway.send(request, self.route())

    @pytest.mark.parametrize("limit", [STREAMED, 100], ids=["streamed", "plain"])
    @pytest.mark.parametrize("status", [429, 503])
    async def test_no_room_at_the_flex_tier(
        self, server: LocalServer, gateway: Gateway, limit: int, status: int
    ) -> None:
        """What means "later" at the full price means "not at this price" for flex."""
        error = {"error": {"code": status, "message": "high demand", "status": "UNAVAILABLE"}}
        server.script = [json_reply(error, status=status)]
        with pytest.raises(CapacityError) as flex:
            await gateway.send(
                replace(self.request(limit), processing=Processing.FLEX), self.route()
            )
        with pytest.raises(TransientError) as live:
            await gateway.send(self.request(limit), self.route())
        assert flex.value.status == live.value.status == status
        assert not flex.value.possibly_billed

    async def test_a_large_event(self, server: LocalServer, gateway: Gateway) -> None:
        """One event of several megabytes is read whole."""
        words = "가" * 1_000_000
        body = sse(*(("", chunk) for chunk in chunks(self.answer(words), size=len(words))))
        server.script = [sse_reply(body, size=60_000)]
        answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == words

    async def test_the_environment_changes_nothing(
        self, server: LocalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stray variables of the SDK and of proxies move neither the host nor the key."""
        for name, value in {
            "GOOGLE_API_KEY": "other",
            "GEMINI_API_KEY": "other",
            "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1",
            "GOOGLE_GENAI_USE_VERTEXAI": "true",
            "GOOGLE_GENAI_USE_ENTERPRISE": "true",
            "GOOGLE_GENAI_CLIENT_MODE": "replay",
            "GOOGLE_GENAI_API_VERSION": "v9",
            "HTTP_PROXY": "http://127.0.0.1:1",
            "ALL_PROXY": "http://127.0.0.1:1",
            "NO_PROXY": "",
        }.items():
            monkeypatch.setenv(name, value)
        gateway = self.make(server.url, Timeouts())
        server.script = [json_reply(self.answer("ok"))]
        await gateway.send(self.request(), self.route())
        await gateway.aclose()
        assert server.seen[0].headers["x-goog-api-key"] == KEY
        assert server.seen[0].target == "/v1beta/models/gemini-3.8-flash:generateContent"
        assert "other" not in str(server.seen[0].headers)

    async def test_the_official_host_is_not_taken_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a base URL the address is the provider's, whatever the environment says."""
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")
        gateway = GeminiGateway(api_key=KEY)
        options = gateway._client()._api_client.get_read_only_http_options()
        await gateway.aclose()
        assert options["base_url"] == "https://generativelanguage.googleapis.com"

    @pytest.mark.parametrize("key", [None, "", "  ", "키", "a\nb"])
    async def test_no_usable_key(
        self, server: LocalServer, key: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a key nothing is sent, and none is looked for elsewhere."""
        monkeypatch.setenv("GEMINI_API_KEY", "other")
        gateway = GeminiGateway(api_key=key, base_url=server.url)
        with pytest.raises(AuthenticationError):
            await gateway.send(self.request(), self.route())
        await gateway.aclose()
        assert server.seen == []

    async def test_no_models(self, server: LocalServer, gateway: Gateway) -> None:
        """An empty list proves neither the address nor the key."""
        server.script = [json_reply({})]
        with pytest.raises(MalformedAnswerError):
            await gateway.list_models()


class TestFaultTable:
    def test_every_exception_of_the_sdk_has_a_row(self) -> None:
        """No class of the SDK or its transport is left untranslated."""
        import aiohttp
        import google.genai.errors
        from google.auth.exceptions import GoogleAuthError

        roots = [aiohttp.ClientError, GoogleAuthError]
        roots += [
            kind
            for kind in vars(google.genai.errors).values()
            if isinstance(kind, type)
            and issubclass(kind, Exception)
            and not issubclass(kind, Warning)
        ]
        found = list(classes(*roots))
        assert len(found) > 40
        for kind in found:
            error = kind.__new__(kind)
            fault = fault_of(error, fault_table())
            if fault is not Fault.STATUS:
                ours = translate(error, fault_table(), fail, provider="gemini")
                assert isinstance(ours, GatewayError), kind


def fail(error: Exception) -> GatewayError:
    raise AssertionError(error)


def classes(*roots: type[Exception]) -> Iterator[type[Exception]]:
    for root in roots:
        yield root
        yield from classes(*root.__subclasses__())
