"""The Perplexity adapter: search results become citations, and its own cost is kept exactly."""

from __future__ import annotations

import asyncio
import copy
from contextlib import aclosing
from decimal import Decimal

import pytest

from aigenflow.core.errors import GatewayError, RateLimitedError, ServerFaultError
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    Backend,
    Citation,
    FinishReason,
    Json,
    Route,
)
from aigenflow.gateway.adapters.perplexity import PerplexityGateway, build_body, parse
from aigenflow.gateway.base import Gateway, Timeouts
from tests.contracts.gateway_contract import (
    KEY,
    STREAMED,
    GatewayContract,
    LocalServer,
    json_reply,
    sse,
    sse_reply,
)


def text(words: str, *annotations: Json) -> Json:
    part = {"type": "output_text", "text": words, "annotations": list(annotations)}
    return {"type": "message", "role": "assistant", "status": "completed", "content": [part]}


def found(*results: Json) -> Json:
    return {"type": "search_results", "queries": ["q"], "results": list(results)}


def result(url: str, **fields: Json) -> Json:
    return {"url": url, "title": f"T {url}", "snippet": "S", "date": "2026-10-01", **fields}


def response(*output: Json, **fields: Json) -> dict[str, Json]:
    usage = {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "cost": {"currency": "USD", "input_cost": 0.000025, "total_cost": 0.0052575},
    }
    whole = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "perplexity/sonar",
        "output": list(output),
        "usage": usage,
    }
    return copy.deepcopy({**whole, **fields})


class TestParse:
    def test_search_results_are_citations(self) -> None:
        """Each result is a citation with its quote and date, and its marker stays."""
        answer = parse(response(found(result("a"), result("b")), text("하나[1], 둘[2][1].")))
        assert answer.content == "하나[1], 둘[2][1]."
        assert answer.citations[0] == Citation(url="a", title="T a", quote="S", date="2026-10-01")
        assert [c.url for c in answer.citations] == ["a", "b"]

    def test_results_are_numbered_by_id(self) -> None:
        """Where results carry an id, markers mean the id, and are counted anew."""
        results = found(result("a", id=7), result("b", id=3))
        assert parse(response(results, text("x[3] y[7]"))).content == "x[2] y[1]"

    def test_one_url_is_one_citation(self) -> None:
        """Results with the same URL become one citation, and their markers one number."""
        answer = parse(
            response(
                found(result("a", id=1), result("b", id=2)),
                found(result("a", id=3)),
                text("x[1][3] y[2, 3]"),
            )
        )
        assert [c.url for c in answer.citations] == ["a", "b"]
        assert answer.content == "x[1][1] y[2][1]"

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("A claim [9].", "A claim."),
            ("A claim[0].", "A claim."),
            ("Both [1, 9].", "Both [1]."),
            ("In [2025] it grew[1].", "In [2025] it grew[1]."),
            ("See [9](https://x.example).", "See [9](https://x.example)."),
        ],
    )
    def test_markers_without_a_source(self, before: str, after: str) -> None:
        """A marker that no result stands behind is dropped; years and links are no markers."""
        assert parse(response(found(result("a")), text(before))).content == after

    def test_no_sources_at_all(self) -> None:
        """Without any source no marker is left to suggest one."""
        answer = parse(response(text("A claim [1].")))
        assert (answer.content, answer.citations) == ("A claim.", ())

    def test_annotations_where_no_results_came(self) -> None:
        """Annotations serve as sources when there are no search results."""
        note = {"type": "url_citation", "url": "a", "title": "A", "end_index": 7}
        answer = parse(response(text("A claim.", note)))
        assert answer.content == "A claim[1]."
        assert [c.url for c in answer.citations] == ["a"]

    def test_refusal_without_text(self) -> None:
        """A refusal is a refusal here as well."""
        refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
        assert parse(response(refusal)).finish_reason is FinishReason.REFUSAL

    @pytest.mark.parametrize(
        ("cost", "dollars"),
        [
            ({"total_cost": 0.0052575}, Decimal("0.0052575")),
            ({"total_cost": 0.1 + 0.2}, Decimal("0.30000000000000004")),
            ({"total_cost": 1e-7, "currency": "USD"}, Decimal("1E-7")),
            ({"total_cost": "0.00525750"}, Decimal("0.00525750")),
            ({"total_cost": 0}, Decimal(0)),
            ({"total_cost": 5, "currency": "EUR"}, None),
            ({"total_cost": -1}, None),
            ({"total_cost": float("nan")}, None),
            ({"total_cost": True}, None),
            ({"total_cost": None}, None),
            ({}, None),
            ("free", None),
        ],
    )
    def test_cost(self, cost: Json, dollars: Decimal | None) -> None:
        """The cost is exactly the number in the JSON, and unknown where there is none."""
        usage = {"input_tokens": 1, "output_tokens": 1, "cost": cost}
        assert parse(response(text("ok"), usage=usage)).reported_cost == dollars

    def test_tokens_under_perplexitys_names(self) -> None:
        """Cached and written tokens are read under either name; searches from the tool counts."""
        usage = {
            "input_tokens": 900,
            "input_tokens_details": {
                "cache_read_input_tokens": 400,
                "cache_creation_input_tokens": 50,
            },
            "output_tokens": 5,
            "tool_calls_details": {"search_web": {"invocation": 3}},
        }
        answer = parse(response(found(result("a")), text("ok"), usage=usage))
        assert (answer.cached_input_tokens, answer.cache_write_tokens) == (400, 50)
        assert answer.search_calls == 3

    def test_searches_without_tool_counts(self) -> None:
        """Without counts of tool calls, each list of results is a search."""
        assert parse(response(found(), found(result("a")), text("ok"))).search_calls == 2

    def test_a_failed_answer_costs_what_the_provider_says(self) -> None:
        """Fees of searches are charged also where no answer came of them."""
        whole = response(found(result("a")), status="failed", error={"code": "server_error"})
        with pytest.raises(ServerFaultError) as caught:
            parse(whole)
        assert caught.value.response is not None
        assert caught.value.response.reported_cost == Decimal("0.0052575")
        assert caught.value.response.search_calls == 1


class TestPerplexityGateway(GatewayContract):
    backend = Backend.PERPLEXITY
    agent = AgentType.PERPLEXITY
    model = "perplexity/sonar"

    def make(self, base_url: str, timeouts: Timeouts) -> Gateway:
        return PerplexityGateway(api_key=KEY, base_url=base_url, timeouts=timeouts)

    def base_url(self, server_url: str) -> str:
        return f"{server_url}/v1"

    def answer(self, words: str, *, cut_at_limit: bool = False) -> Json:
        if cut_at_limit:
            details = {"reason": "max_output_tokens"}
            return response(text(words), status="incomplete", incomplete_details=details)
        return response(text(words))

    def stream_head(self, words: str) -> bytes:
        deltas = [{"type": "response.output_text.delta", "delta": letter} for letter in words]
        return sse(*((event["type"], event) for event in deltas))

    def stream(self, words: str) -> bytes:
        end = {"type": "response.completed", "response": self.answer(words)}
        return self.stream_head(words) + sse(("response.completed", end), done=True)

    def error(self, kind: str, message: str) -> Json:
        return {"error": {"type": kind, "message": message}}

    def models(self) -> Json:
        return {"object": "list", "data": [{"id": "one"}, {"id": "two"}]}

    async def test_a_search(self, server: LocalServer, gateway: Gateway) -> None:
        """A search is streamed to the Responses path, and its sources name the agent."""
        request = AgentRequest(
            agent=AgentType.PERPLEXITY, phase=2, task="fact_check", prompt="?", web_search=True
        )
        whole = response(found(result("a")), text("ok[1]"))
        end = {"type": "response.completed", "response": whole}
        server.script = [sse_reply(sse(("response.completed", end)))]
        answer = await gateway.send(request, self.route())
        (seen,) = server.seen
        assert seen.target == "/v1/responses"
        assert seen.json == {**build_body(request, self.route()), "stream": True}
        assert seen.json["tools"] == [{"type": "web_search"}]
        assert answer.citations[0].agent is AgentType.PERPLEXITY
        assert answer.reported_cost == Decimal("0.0052575")

    @pytest.mark.parametrize(
        ("error", "kind"),
        [({"type": "rate_limit"}, RateLimitedError), ({"code": 503}, ServerFaultError)],
    )
    async def test_error_event(
        self, server: LocalServer, gateway: Gateway, error: Json, kind: type[GatewayError]
    ) -> None:
        """An error object inside the stream is that error."""
        server.script = [sse_reply(sse(("error", {"type": "error", "error": error})))]
        assert type(await self.fault(gateway, STREAMED)) is kind

    async def test_open_after_the_end(self, server: LocalServer) -> None:
        """A connection that stays open after the terminal event does not hold up the answer."""
        server.script = [sse_reply(self.stream("ok"), hang=True)]
        gateway = self.make(self.base_url(server.url), Timeouts())
        async with asyncio.timeout(10), aclosing(gateway):
            answer = await gateway.send(self.request(STREAMED), self.route())
        assert answer.content == "ok"

    async def test_an_error_in_place_of_an_answer(
        self, server: LocalServer, gateway: Gateway
    ) -> None:
        """An error object under status 200 is that error, not a malformed answer."""
        server.script = [json_reply({"error": {"type": "rate_limit", "message": "slow"}})]
        assert isinstance(await self.fault(gateway), RateLimitedError)


def test_only_the_shared_fields() -> None:
    """The body has nothing that Perplexity does not know."""
    request = AgentRequest(agent=AgentType.PERPLEXITY, phase=2, task="t", prompt="?", system="S")
    route = Route(
        agent=AgentType.PERPLEXITY,
        actor=AgentType.PERPLEXITY,
        backend=Backend.PERPLEXITY,
        model="perplexity/sonar",
    )
    fields = {"model", "input", "max_output_tokens", "instructions"}
    assert set(build_body(request, route)) == fields
