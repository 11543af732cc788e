"""Phase 2 one call after the other, with plain ``asyncio.gather``, and through the processor.

    python benchmarks/batch.py [--scale 0.05] [--documents 50] [--rounds 5] [--rate-limit]

A document's phase 2 is one request to Gemini and one to Perplexity. All three ways go through the
same gateways (limits, retries, SDKs) to the wire-format server in a process of its own; they take
turns within each round, and the medians of the rounds are printed. ``--rate-limit`` adds a part
that takes several minutes, since a minute of the server's limits cannot be made shorter.

Where the figures come from (third parties, read in November 2026; change them as options):

* Gemini, 7.6 to 8.1 s: 1,500 tokens at the 204.5 tokens/s that a comparison of March 2026 measured
  for Gemini 2.5 Flash (wpnews.pro, "5 LLM APIs tested for latency"), and 0.3 to 0.8 s for the
  search (theneuralbase.com, "Enabling Google Search grounding").
* Perplexity, 2 to 8 s with its search (theneuralbase.com, "Significantly higher latency"); 50
  requests per minute for a new key (skills.sh, "Perplexity rate limits").

``--scale`` shortens latencies so that a run takes minutes; the fixed costs are then a larger share
of each figure than they are in real life.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from targets import at_least, at_most

from aigenflow.batch.processor import BatchProcessor
from aigenflow.core.clock import SystemClock
from aigenflow.core.config import AgentSettings, AgentsSettings, Settings
from aigenflow.core.errors import GatewayError
from aigenflow.core.models import (
    AgentRequest,
    AgentType,
    ContextDocument,
    GatewayResponse,
    Json,
    Route,
)
from aigenflow.gateway.base import ignore_text
from aigenflow.gateway.registry import Gateways
from aigenflow.testing.process import WireServerProcess

TEAM = {"deep_search": AgentType.GEMINI, "fact_check": AgentType.PERPLEXITY}
CONTEXT = "What phase 1 has found out about the market, the customers and the product. " * 80
Document = Sequence[tuple[AgentRequest, Route]]
Way = Callable[[Gateways, Sequence[Document]], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Seconds of one call at least and at most, requests per minute, and the size of the run."""

    gemini_s: tuple[float, float]
    perplexity_s: tuple[float, float]
    perplexity_rpm: int
    scale: float
    documents: int
    rounds: int


class NoComposer:
    """The offline drafter is not used here."""

    def compose(self, request: AgentRequest) -> str:
        raise NotImplementedError


def settings_for(url: str, perplexity_rpm: int | None = None) -> Settings:
    """The default agents, at the server's address."""

    def at(agent: AgentSettings, path: str, **limits: int | None) -> AgentSettings:
        return agent.model_copy(update={"base_url": url + path, **limits})

    agents = AgentsSettings()
    return Settings(
        agents=agents.model_copy(
            update={
                "gemini": at(agents.gemini, "/gemini"),
                "perplexity": at(
                    agents.perplexity, "/perplexity/v1", requests_per_minute=perplexity_rpm
                ),
            }
        )
    )


def gateways_for(settings: Settings) -> Gateways:
    return Gateways(settings, lambda _agent: "key", NoComposer(), SystemClock())


def write_down(settings: Settings, number: int) -> Document:
    """The requests of one document."""
    return [
        (
            AgentRequest(
                agent=agent,
                phase=2,
                task=task,
                prompt=f"Research the market of idea number {number}.",
                context=(ContextDocument(id="phase1.brainstorm", title="Ideas", text=CONTEXT),),
                web_search=True,
                session=f"session-{number}",
            ),
            route_of(settings, agent),
        )
        for task, agent in TEAM.items()
    ]


def route_of(settings: Settings, agent: AgentType) -> Route:
    how = settings.agents.of(agent)
    return Route(
        agent=agent, actor=agent, backend=how.backend, model=how.model, base_url=how.base_url
    )


async def count_failures(calls: Sequence[Awaitable[GatewayResponse]]) -> int:
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    return sum(isinstance(outcome, GatewayError) for outcome in outcomes)


async def one_after_the_other(gateways: Gateways, documents: Sequence[Document]) -> int:
    """No two calls at the same time. Returns the number of failures, as the others do."""
    failures = 0
    for document in documents:
        for request, route in document:
            failures += await count_failures([gateways.send(request, route)])
    return failures


async def plain_gather(gateways: Gateways, documents: Sequence[Document]) -> int:
    return await count_failures([gateways.send(*call) for doc in documents for call in doc])


async def processor(gateways: Gateways, documents: Sequence[Document]) -> int:
    """As the pipeline does it: every document announces its phase, all share one processor."""
    shared = BatchProcessor(gateways)

    async def ask(
        asker: AbstractContextManager[None], request: AgentRequest, route: Route
    ) -> GatewayResponse:
        with asker:
            return await shared.send(request, route, ignore_text)

    async def phase(document: Document) -> int:
        with shared.expecting(len(document)) as askers:
            calls = [ask(a, *call) for a, call in zip(askers, document, strict=True)]
            return await count_failures(calls)

    return sum(await asyncio.gather(*(phase(document) for document in documents)))


WAYS: Mapping[str, Way] = {
    "one after the other": one_after_the_other,
    "asyncio.gather": plain_gather,
    "batch processor": processor,
}


class Server:
    """The wire-format server, told what to do over its own paths."""

    def __init__(self, url: str) -> None:
        self.url = url

    def use(self, script: Json) -> None:
        self._call("/_script", script)

    def reset(self) -> None:
        self._call("/_reset", {})

    def refused(self) -> int:
        """Calls answered with 429 since the last reset."""
        with urllib.request.urlopen(self.url + "/_bill") as answer:
            return sum(line["status"] == 429 for line in json.load(answer))

    def _call(self, path: str, body: Json) -> None:
        data = json.dumps(body).encode()
        urllib.request.urlopen(urllib.request.Request(self.url + path, data=data)).close()


def latencies(figures: Figures) -> Json:
    """The script that makes the server as slow as the providers are, times the scale."""

    def slow(provider: str, seconds: tuple[float, float]) -> Json:
        scaled = [figures.scale * second for second in seconds]
        return {"match": {"provider": provider}, "action": {"latency_s": scaled}}

    return {"rules": [slow("gemini", figures.gemini_s), slow("perplexity", figures.perplexity_s)]}


async def timed(way: Way, gateways: Gateways, documents: Sequence[Document]) -> float:
    """Seconds of wall time. Raises ``RuntimeError`` where a call failed."""
    begin = time.perf_counter()
    failures = await way(gateways, documents)
    seconds = time.perf_counter() - begin
    if failures:
        raise RuntimeError(f"{failures} calls failed")
    return seconds


def show(title: str, taken: Mapping[str, Sequence[float]]) -> None:
    """A table of medians, next to those of the other two ways."""
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    print(f"\n{title}")
    print(
        f"  {'':<22}{'median ms':>12}{'least':>10}{'most':>10}{'vs. single':>12}{'vs. gather':>12}"
    )
    for way, seconds in taken.items():
        single, gather = medians["one after the other"], medians["asyncio.gather"]
        print(
            f"  {way:<22}{medians[way] * 1e3:>12,.1f}{min(seconds) * 1e3:>10,.1f}"
            f"{max(seconds) * 1e3:>10,.1f}{medians[way] / single - 1:>+12.1%}"
            f"{medians[way] / gather - 1:>+12.1%}"
        )


def judge(taken: Mapping[str, Sequence[float]], documents: int) -> None:
    """The targets of the queue: less time than one by one, hardly more than gathered."""
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    ours, note = medians["batch processor"], f"{documents} documents"
    single, gather = medians["one after the other"], medians["asyncio.gather"]
    at_least("phase 2 in the queue, less time", 15, (1 - ours / single) * 100, "%", note)
    at_most("phase 2 in the queue, over gather", 5, (ours / gather - 1) * 100, "%", note)


async def compare(server: Server, documents: int, rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each way, round by round, after one round that does not count."""
    settings = settings_for(server.url)
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    gateways = gateways_for(settings)
    try:
        await timed(plain_gather, gateways, [write_down(settings, 0)])
        ways = list(WAYS.items())
        for number in range(rounds):
            server.reset()
            work = [write_down(settings, number * documents + n) for n in range(documents)]
            for name, way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                taken[name].append(await timed(way, gateways, work))
    finally:
        await gateways.aclose()
    return taken


async def own_cost(requests: int) -> None:
    """What the processor adds to calls that take no time at all, without server or SDK."""

    class Instant:
        async def send(self, *_call: object) -> GatewayResponse:
            return answer

    answer = GatewayResponse(content="Yes.")
    settings = settings_for("http://127.0.0.1")
    documents = [write_down(settings, number) for number in range(requests // len(TEAM))]
    taken: dict[str, list[float]] = {"gather": [], "processor": []}
    for _round in range(9):
        for name, way in (("gather", plain_gather), ("processor", processor)):
            taken[name].append(await timed(way, Instant(), documents))
    added = statistics.median(taken["processor"]) - statistics.median(taken["gather"])
    print(f"  {requests:>6,} requests: {added / requests * 1e6:,.0f} us each")


async def rate_limited(server: Server, figures: Figures) -> None:
    """More documents at once than a minute allows: how long, and how many calls for nothing."""
    rpm = figures.perplexity_rpm
    documents = rpm + rpm // 5
    print(f"\n{documents} documents, Perplexity takes {rpm} requests per minute (one run each)")
    print(f"  {'':<44}{'seconds':>10}{'429s':>8}{'failed':>8}")
    # Half, because a bucket lets through a minute's worth at once and as much again as it refills.
    for label, limit, way in (
        ("asyncio.gather, limit not configured", None, plain_gather),
        ("asyncio.gather, limit configured as half", rpm // 2, plain_gather),
        ("batch processor, limit configured as half", rpm // 2, processor),
    ):
        server.use({**latencies(figures), "limits": {"perplexity": {"requests_per_minute": rpm}}})
        server.reset()
        settings = settings_for(server.url, limit)
        gateways = gateways_for(settings)
        begin = time.perf_counter()
        failed = await way(gateways, [write_down(settings, n) for n in range(documents)])
        seconds = time.perf_counter() - begin
        await gateways.aclose()
        print(f"  {label:<44}{seconds:>10.1f}{server.refused():>8}{failed:>8}")


async def measure(server: Server, figures: Figures, *, with_rate_limit: bool) -> None:
    server.use(latencies(figures))
    for documents in (1, figures.documents):
        taken = await compare(server, documents, figures.rounds)
        show(f"Phase 2 of {documents} documents, latencies x {figures.scale}", taken)
        judge(taken, documents)
    server.use({})
    for documents, rounds in ((1, 20 * figures.rounds), (figures.documents, figures.rounds)):
        taken = await compare(server, documents, rounds)
        show(f"Phase 2 of {documents} documents, answers without latency", taken)
    print("\nThe processor's own cost, calls that do nothing")
    for requests in (2, 100, 10_000):
        await own_cost(requests)
    if with_rate_limit:
        await rate_limited(server, replace(figures, scale=min(figures.scale, 0.05)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gemini", nargs=2, type=float, default=(7.6, 8.1), metavar="S")
    parser.add_argument("--perplexity", nargs=2, type=float, default=(2.0, 8.0), metavar="S")
    parser.add_argument("--perplexity-rpm", type=int, default=50)
    parser.add_argument("--scale", type=float, default=0.05)
    parser.add_argument("--documents", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate-limit", action="store_true")
    given = parser.parse_args()
    figures = Figures(
        gemini_s=tuple(given.gemini),
        perplexity_s=tuple(given.perplexity),
        perplexity_rpm=given.perplexity_rpm,
        scale=given.scale,
        documents=given.documents,
        rounds=given.rounds,
    )
    print(figures)
    with tempfile.TemporaryDirectory() as folder, WireServerProcess(state_dir=Path(folder)) as wire:
        asyncio.run(measure(Server(wire.url), figures, with_rate_limit=given.rate_limit))


if __name__ == "__main__":
    main()
