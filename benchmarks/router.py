"""What the whole router adds to the SDK's own call, and what an answer from the cache costs.

    python benchmarks/router.py [--calls 200] [--rounds 7] [--profile]

``bare SDK``: ``AsyncOpenAI.responses.create`` with the aiohttp transport. ``router``: the same
question through the whole program as ``aigenflow ask`` sends it: key, cache miss, lease,
reservation from a budget, queue, limits, retries, the same SDK call, settlement, ledger row, entry.
``cached``: the same questions once more, each a hit with its row in the ledger. ``new file``: one
file made and removed again in the same folder, of which a miss makes two (its lease and its entry):
what that costs belongs to the file system, and to what was deleted there in the last minutes.

CPU is that of the process with all its threads (the ledger commits in one), without the server,
which is a process of its own and answers at once. The subjects take turns of ``--calls`` calls;
medians of CPU and wall time per call. The SDK is imported and the connections are open before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import itertools
import pstats
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from openai import AsyncOpenAI, DefaultAioHttpClient
from targets import at_most

from aigenflow.app import App
from aigenflow.core.config import AgentsSettings, BudgetSettings, Settings
from aigenflow.core.models import AgentRequest, AgentType
from aigenflow.testing.process import WireServerProcess

MODEL = "gpt-6.1-sol"
MAX_TOKENS = 400
Ask = Callable[[str], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one call, in milliseconds."""

    cpu_ms: float
    wall_ms: float


def settings_for(url: str) -> Settings:
    agents = AgentsSettings()
    chatgpt = agents.chatgpt.model_copy(
        update={"base_url": f"{url}/openai/v1", "model": MODEL, "concurrency": 512}
    )
    return Settings(
        agents=agents.model_copy(update={"chatgpt": chatgpt}),
        budget=BudgetSettings(daily_usd=10_000),
    )


def request(prompt: str) -> AgentRequest:
    return AgentRequest(
        agent=AgentType.CHATGPT, phase=0, task="ask", prompt=prompt, max_output_tokens=MAX_TOKENS
    )


async def ask_all(ask: Ask, prompts: Sequence[str], at_once: int) -> Cost:
    """Ask everything, at most ``at_once`` at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(prompt: str) -> None:
        async with gate:
            await ask(prompt)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(one, prompts))
    calls = len(prompts)
    return Cost(
        cpu_ms=(time.process_time() - cpu) / calls * 1e3,
        wall_ms=(time.perf_counter() - wall) / calls * 1e3,
    )


class Subjects:
    """The ways to ask, over connections that are open, and a file beside them."""

    def __init__(self, app: App, client: AsyncOpenAI, folder: Path) -> None:
        self._app, self._client, self._folder = app, client, folder
        self._numbers = itertools.count()

    def prompts(self, calls: int) -> list[str]:
        """Questions that nobody has asked yet."""
        return [f"Name risk number {next(self._numbers)}." for _ in range(calls)]

    async def bare(self, prompt: str) -> object:
        return await self._client.responses.create(
            model=MODEL, input=prompt, max_output_tokens=MAX_TOKENS
        )

    async def router(self, prompt: str) -> object:
        return await self._app.ask(request(prompt))

    async def new_file(self, prompt: str) -> None:
        path = self._folder / f"{prompt}txt"
        path.touch()
        path.unlink()


async def take_turns(
    subjects: Subjects, calls: int, rounds: int, at_once: int
) -> dict[str, list[Cost]]:
    taken: dict[str, list[Cost]] = {"bare SDK": [], "router": [], "cached": [], "new file": []}
    for number in range(rounds + 1):
        asked = subjects.prompts(calls)
        costs = {
            "bare SDK": await ask_all(subjects.bare, asked, at_once),
            "router": await ask_all(subjects.router, asked, at_once),
            "cached": await ask_all(subjects.router, asked, at_once),
            "new file": await ask_all(subjects.new_file, asked, at_once),
        }
        if number:  # the first one warms up
            for name, cost in costs.items():
                taken[name].append(cost)
    return taken


def show(taken: dict[str, list[Cost]], at_once: int) -> dict[str, Cost]:
    print(f"\n{at_once} at a time")
    print(f"  {'':<12}{'CPU ms':>9}{'wall ms':>9}{'CPU added':>11}{'':>4}")
    medians = {
        name: Cost(
            cpu_ms=statistics.median(cost.cpu_ms for cost in costs),
            wall_ms=statistics.median(cost.wall_ms for cost in costs),
        )
        for name, costs in taken.items()
    }
    bare = medians["bare SDK"].cpu_ms
    for name, cost in medians.items():
        print(f"  {name:<12}{cost.cpu_ms:>9.3f}{cost.wall_ms:>9.3f}{cost.cpu_ms - bare:>+11.3f}")
    return medians


async def measure(url: str, calls: int, rounds: int, profile: cProfile.Profile | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="aigenflow-router-"))
        app = await stack.enter_async_context(App(settings_for(url), home=Path(folder)))
        client = await stack.enter_async_context(
            AsyncOpenAI(
                api_key="sk-none",
                base_url=f"{url}/openai/v1",
                max_retries=0,
                http_client=DefaultAioHttpClient(),
            )
        )
        subjects = Subjects(app, client, Path(folder))
        if profile is not None:
            await ask_all(subjects.router, subjects.prompts(calls), 64)
            profile.enable()
            await ask_all(subjects.router, subjects.prompts(5 * calls), 64)
            profile.disable()
            return
        one = show(await take_turns(subjects, calls, rounds, 1), 1)
        many = show(await take_turns(subjects, calls, rounds, 64), 64)
    added = many["router"].cpu_ms - many["bare SDK"].cpu_ms
    at_most("router, 64 at a time, added to the SDK's call", 0.5, added, "ms CPU")
    at_most("router, 64 at a time, added", 15, added / many["bare SDK"].cpu_ms * 100, "% CPU")
    note = "ledger row included; CPU"
    at_most("cached router call, one at a time", 150, one["cached"].cpu_ms * 1e3, "us", note)
    at_most("cached router call, 64 at a time", 150, many["cached"].cpu_ms * 1e3, "us", note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    given = parser.parse_args()
    profile = cProfile.Profile() if given.profile else None
    with tempfile.TemporaryDirectory() as folder, WireServerProcess(state_dir=Path(folder)) as wire:
        asyncio.run(measure(wire.url, given.calls, given.rounds, profile))
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)


if __name__ == "__main__":
    main()
