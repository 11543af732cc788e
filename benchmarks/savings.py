"""What the three savings come to, on several mixes of work, in the dollars of a server's bill.

    python benchmarks/savings.py [--mixes specification month ...]

Every document of a mix (``mixes/*.yaml``, each with its reasoning) is written by the whole program
against the wire-format server, once for each way of saving. Calls, tokens and dollars are those of
the server's own bill, priced with ``genai_prices``; the program's ledger takes no part. ``hits``
are the calls of "everything off" that were not made.

How close this is to life:

* A clock that runs 1,000 times faster than the machine's, and jumps from document to document,
  so that the cache forgets after a day and deadlines mean what they say.
* Answers are drawn out to half of their output limit, which is what ``aigenflow plan`` expects.
  The quality rounds are off: the server's answers would never pass.
* Providers forget prompts between two documents. Within a document, live calls follow each other
  fast enough for prompt caches; waves of batch jobs do not, so a batch item gets no credit for
  them, and pays for what it writes.
* ``off``, ``cache`` and ``rates`` meet providers without prompt caches, which no user can switch
  off; the difference to ``prompts`` is what they are worth.

The lower bound buys every distinct answer of the mix once, with prompt caches, at the cheapest rate
that its provider has for a document wanted at that time. It is lower than what can be reached: it
knows no expiry, and lets every wave of a document wait for a batch job.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic

from genai_prices import Usage, calc_price
from pydantic import BaseModel, ConfigDict
from targets import at_least

from aigenflow.app import App
from aigenflow.core.config import (
    AgentsSettings,
    CacheSettings,
    FeatureSettings,
    QualitySettings,
    Settings,
)
from aigenflow.core.models import AgentType, DocumentType, Json, Language, ProcessingChoice
from aigenflow.core.yaml import read_yaml
from aigenflow.pipeline.assignment import Assignment
from aigenflow.testing.bill import BillLine
from aigenflow.testing.process import WireServerProcess

MIXES = Path(__file__).parent / "mixes"
FIRST_DAY = datetime(2026, 11, 1, tzinfo=UTC)
SPEED = 1_000
FILL = 0.5
SHORTEST_FOR_HALF_PRICE = timedelta(hours=1)
NO_PROMPT_CACHE = {
    "cached_input_tokens": 0,
    "cache_write_5m_tokens": 0,
    "cache_write_1h_tokens": 0,
}
VENDORS = {"anthropic": "anthropic", "openai": "openai", "gemini": "google"}
CONTEXTS = {"flex": {"service_tier": "flex"}, "batch": {"processing": "batch"}}
OFFERS = {"anthropic": ("batch",), "openai": ("batch", "flex"), "gemini": ("batch", "flex")}
COUNTS_WRITES = frozenset({"anthropic", "openai"})


class Document(BaseModel):
    """One document of a mix. ``at`` is day and time, ``within`` when it is wanted after that."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str
    at: str
    within: str = ""
    lang: Language = Language.EN
    type: DocumentType = DocumentType.BIZPLAN
    template: str = "default"
    brief: str = ""

    @property
    def begins(self) -> datetime:
        day, _space, clock = self.at.partition(" ")
        hours, _colon, minutes = clock.partition(":")
        return FIRST_DAY + timedelta(days=int(day) - 1, hours=int(hours), minutes=int(minutes))

    @property
    def patience(self) -> timedelta:
        """How long it can wait; nothing where it is wanted at once."""
        return timedelta(hours=float(self.within.removesuffix("h") or 0))


class Mix(BaseModel):
    """Documents in the order of their dates, and why there are these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    why: str
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is switched on."""

    name: str
    cache: bool = False
    rates: bool = False
    prompts: bool = False
    ttl_hours: float = 24


OFF = Way(name="everything off")
PROMPTS = Way(name="prompt caching only", prompts=True)
ALL = Way(name="everything on", cache=True, rates=True, prompts=True)
CACHE = Way(name="response cache only", cache=True)
RATES = Way(name="batch and flex only", rates=True)
KEPT = replace(ALL, name="everything on, kept a month", ttl_hours=31 * 24)
WAYS = (OFF, CACHE, RATES, PROMPTS, ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """A line of the bill and the document it was bought for."""

    line: BillLine
    document: Document


class FastClock:
    """Runs ``SPEED`` times as fast as the machine's, from a date that can be set forward."""

    def __init__(self) -> None:
        self._start, self._since = FIRST_DAY, monotonic()

    def jump(self, to: datetime) -> None:
        self._start, self._since = max(to, self.now()), monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(monotonic() - self._since) * SPEED)

    def monotonic(self) -> float:
        return monotonic() * SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


class Server:
    """The wire-format server, told what to do over its own paths."""

    def __init__(self, url: str) -> None:
        self.url = url

    def forget_prompts(self, *, prompts: bool) -> None:
        """Begin with empty prompt caches, or with none at all; the bill goes on."""
        usage: Mapping[str, int] = {} if prompts else NO_PROMPT_CACHE
        self._call("/_script", {"defaults": {"fill": FILL, "usage": usage}})

    def reset(self) -> None:
        self._call("/_reset", {})

    def bill(self) -> list[BillLine]:
        with urllib.request.urlopen(self.url + "/_bill") as answer:
            return [BillLine(**line) for line in json.load(answer)]

    def _call(self, path: str, body: Json) -> None:
        data = json.dumps(body).encode()
        urllib.request.urlopen(urllib.request.Request(self.url + path, data=data)).close()


def settings_for(server: Server, home: Path, way: Way) -> Settings:
    """The default agents, at the server's address, with what ``way`` switches on."""
    agents = AgentsSettings()
    return Settings(
        agents=AgentsSettings(
            **{
                agent.value: agents.of(agent).model_copy(update={"base_url": server.url})
                for agent in AgentType
            }
        ),
        features=FeatureSettings(caching_enabled=way.cache, batch_processing_enabled=way.rates),
        cache=CacheSettings(ttl_hours=way.ttl_hours),
        quality=QualitySettings(max_rounds=0),
        output_dir=home / "output",
        output_formats=("md",),
    )


async def write_all(server: Server, mix: Mix, way: Way, home: Path) -> list[Bought]:
    """Write the documents of ``mix`` one after the other; what the server billed for each."""
    clock, bought = FastClock(), []
    settings = settings_for(server, home, way)
    for document in mix.documents:
        clock.jump(document.begins)
        server.reset()
        server.forget_prompts(prompts=way.prompts)
        at_once = not (way.rates and document.patience)
        async with App(
            settings,
            home=home,
            clock=clock,
            processing=ProcessingChoice.LIVE if at_once else ProcessingChoice.AUTO,
            deadline=None if at_once else clock.now() + document.patience,
        ) as app:
            await app.write(
                app.start(
                    Assignment(
                        topic=document.topic,
                        document_type=document.type,
                        template=document.template,
                        language=document.lang,
                        brief=document.brief,
                    )
                )
            )
        bought += [Bought(line=line, document=document) for line in server.bill() if line.billed]
    return bought


def dollars(line: BillLine) -> Decimal:
    """What the provider charges: its own sum, else its counts at the published prices."""
    if line.total_cost is not None:
        return Decimal(line.total_cost)
    writes = line.cache_write_5m_tokens if line.provider in COUNTS_WRITES else 0
    usage = Usage(
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        cache_read_tokens=line.cached_input_tokens,
        cache_write_tokens=writes,
        web_searches=line.search_calls,
        **({"cache_write_5m_tokens": writes} if line.provider == "anthropic" else {}),
    )
    return calc_price(
        usage,
        line.model,
        provider_id=VENDORS[line.provider],
        genai_request_timestamp=datetime.fromisoformat(line.at),
        price_context=CONTEXTS.get(line.tier),
    ).total_price


def as_apart(line: BillLine) -> BillLine:
    """A batch item whose prefix was forgotten since the wave before; any other line as it is."""
    if line.tier != "batch":
        return line
    return replace(
        line,
        cached_input_tokens=0,
        cache_write_5m_tokens=line.cache_write_5m_tokens + line.cached_input_tokens,
    )


def lower_bound(bought: Iterable[Bought]) -> Decimal:
    """Every distinct question once, at the cheapest rate that meets its deadline."""
    cheapest: dict[tuple[str, str, str], Decimal] = {}
    for one in bought:
        line = one.line
        offers = OFFERS.get(line.provider, ())
        tiers = offers if one.document.patience >= SHORTEST_FOR_HALF_PRICE else ()
        prices = [dollars(line), *(dollars(replace(line, tier=tier)) for tier in tiers)]
        key = (line.provider, line.model, line.question)
        cheapest[key] = min([*prices, *filter(None, [cheapest.get(key)])])
    return sum(cheapest.values(), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What one way came to on one mix. ``cost`` in US dollars; tokens are totals."""

    calls: int
    discounted: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: Decimal


def add_up(bought: Sequence[Bought]) -> Sums:
    lines = [as_apart(one.line) for one in bought]
    return Sums(
        calls=len(lines),
        discounted=sum(line.tier in CONTEXTS for line in lines),
        input_tokens=sum(line.input_tokens for line in lines),
        cached_tokens=sum(line.cached_input_tokens for line in lines),
        output_tokens=sum(line.output_tokens for line in lines),
        cost=sum(map(dollars, lines), Decimal(0)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All ways on one mix, and the least that its answers could have cost."""

    mix: Mix
    sums: Mapping[str, Sums]
    bound: Decimal

    def saved(self, way: str) -> float:
        return 1 - float(self.sums[way].cost / self.sums[OFF.name].cost)

    def hit_rate(self, way: str) -> float:
        return 1 - self.sums[way].calls / self.sums[OFF.name].calls

    @property
    def most(self) -> float:
        """The share of the cost that the lower bound saves."""
        return 1 - float(self.bound / self.sums[OFF.name].cost)


async def measure(server: Server, mix: Mix) -> Results:
    """Write the mix in every way; one that takes weeks also with a cache that lasts as long."""
    bought: dict[str, list[Bought]] = {}
    takes_weeks = mix.documents[-1].begins - mix.documents[0].begins > timedelta(days=14)
    for way in (*WAYS, KEPT) if takes_weeks else WAYS:
        with tempfile.TemporaryDirectory(prefix="aigenflow-savings-") as folder:
            bought[way.name] = await write_all(server, mix, way, Path(folder))
    return Results(
        mix=mix,
        sums={name: add_up(lines) for name, lines in bought.items()},
        bound=lower_bound((*bought[OFF.name], *bought[PROMPTS.name])),
    )


def show(results: Results) -> None:
    """The table of one mix."""
    documents = len(results.mix.documents)
    print(f"\n{results.mix.title} ({documents} documents)")
    print(
        f"  {'':<28}{'calls':>6}{'hits':>7}{'half price':>11}"
        f"{'input':>12}{'cached':>11}{'output':>11}{'dollars':>10}{'saved':>8}{'a document':>12}"
    )
    for name, sums in results.sums.items():
        print(
            f"  {name:<28}{sums.calls:>6}{results.hit_rate(name):>7.1%}{sums.discounted:>11}"
            f"{sums.input_tokens:>12,}{sums.cached_tokens:>11,}{sums.output_tokens:>11,}"
            f"{sums.cost:>10.4f}{results.saved(name):>8.1%}{sums.cost / documents:>12.4f}"
        )
    print(
        f"  {'lower bound':<28}{'':>58}{results.bound:>10.4f}{results.most:>8.1%}"
        f"{results.bound / documents:>12.4f}",
        flush=True,
    )


def compare(all_results: Sequence[Results]) -> None:
    """What the mix does to the figures."""
    print("\nThe mix decides (share of the cost of everything off that is saved)")
    print(f"  {'':<28}{'hits':>7}{'cache':>8}{'rates':>8}{'prompts':>9}{'all':>8}{'at most':>9}")
    for results in all_results:
        print(
            f"  {results.mix.title:<28}{results.hit_rate(ALL.name):>7.1%}"
            f"{results.saved(CACHE.name):>8.1%}{results.saved(RATES.name):>8.1%}"
            f"{results.saved(PROMPTS.name):>9.1%}{results.saved(ALL.name):>8.1%}"
            f"{results.most:>9.1%}"
        )


def load(name: str) -> Mix:
    return Mix.model_validate(read_yaml(MIXES / f"{name}.yaml"))


def main() -> None:
    names = sorted(path.stem for path in MIXES.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mixes", nargs="+", choices=names, default=names)
    given = parser.parse_args()
    by_name: dict[str, Results] = {}
    with tempfile.TemporaryDirectory() as folder, WireServerProcess(state_dir=Path(folder)) as wire:
        for name in given.mixes:
            by_name[name] = asyncio.run(measure(Server(wire.url), load(name)))
            show(by_name[name])
    compare(list(by_name.values()))
    if (specified := by_name.get("specification")) is not None:
        note = "one topic three times, from the server's bill"
        at_least("hit rate", 20, specified.hit_rate(ALL.name) * 100, "%", note)
        at_least("total cost saved", 25, specified.saved(ALL.name) * 100, "%", note)


if __name__ == "__main__":
    main()
