"""The response cache next to its floor and its peers.

    python benchmarks/cache.py [--entries 1000 10000] [--kilobytes 8] [--seconds 1.0]

The full set is ``--entries 1000 10000 100000 --kilobytes 1 8 64`` (an hour and 20 GB of disk).
Peers are measured where they can be imported, and are named where they cannot:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install -e . \
        diskcache langchain-community inspect-ai gptcache
    /tmp/peers/bin/python benchmarks/cache.py

All stores hold the same answers and take turns of a few operations each, in random order of keys,
so that they share the machine's moods; the median turn is printed, in microseconds per operation,
and its ratio to the floor of files. ``hit`` is the whole call: key, policy, checksum, counters
and response object. ``open`` is the first hit of a new opener; ``list`` (20 rows) and ``stats``
are those of a new opener too, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from targets import at_most

from aigenflow.cache.key_generator import key_for
from aigenflow.cache.manager import CacheManager
from aigenflow.cache.storage import open_storage
from aigenflow.core.models import AgentRequest, AgentType, Backend, GatewayResponse, Route

ROUTE = Route(
    agent=AgentType.CLAUDE,
    actor=AgentType.CLAUDE,
    backend=Backend.ANTHROPIC,
    model="claude-sonnet-5-5",
)
SENTENCE = "The market for prepared meals grew by seven percent, led by subscriptions.\n"
TURN = 20
REQUESTS: dict[int, AgentRequest] = {}
MISSES = 10**9
OTHER_LIMIT = 64 * 1024**3


def request(number: int) -> AgentRequest:
    """One of many questions, ready made while time is taken."""
    return REQUESTS.get(number) or new_request(number)


def new_request(number: int) -> AgentRequest:
    """One of many questions."""
    return AgentRequest(
        agent=AgentType.CLAUDE,
        phase=3,
        task="narrative",
        prompt=f"Write part {number} of the strategy narrative for this plan. " * 4,
        system="You are the architect of a team of four.",
        session="s1",
    )


class Subject(Protocol):
    """A store under measurement."""

    def hit(self, number: int) -> object: ...
    def miss(self, number: int) -> object: ...
    def put(self, number: int) -> object: ...
    def newest(self) -> object: ...
    def stats(self) -> object: ...
    def close(self) -> None: ...


Opener = Callable[[Path, str], Subject]


class Files:
    """The floor: one file per entry, read and renamed into place; nothing else."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.data = text.encode()
        folder.mkdir(exist_ok=True)

    def hit(self, number: int) -> object:
        with open(f"{self.folder}/{number}", "rb") as file:  # noqa: PTH123 what a floor would do
            return file.read()

    def miss(self, number: int) -> object:
        try:
            return self.hit(number)
        except FileNotFoundError:
            return None

    def put(self, number: int) -> object:
        temporary = self.folder / f".{number}"
        temporary.write_bytes(self.data)
        return temporary.replace(self.folder / str(number))

    def newest(self) -> object:
        paths = sorted(self.folder.iterdir(), key=lambda path: -path.stat().st_mtime)
        return [path.read_bytes() for path in paths[:20]]

    def stats(self) -> object:
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def close(self) -> None:
        return None


class Rows:
    """The other floor: one row of SQLite by its key."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir(exist_ok=True)
        self.database = sqlite3.connect(folder / "db", isolation_level=None)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute("CREATE TABLE IF NOT EXISTS e (k TEXT PRIMARY KEY, v BLOB)")
        self.data = text.encode()

    def hit(self, number: int) -> object:
        sql = "SELECT v FROM e WHERE k = ?"
        return self.database.execute(sql, (f"{number:032x}",)).fetchone()

    miss = hit

    def put(self, number: int) -> object:
        row = (f"{number:032x}", self.data)
        return self.database.execute("INSERT OR REPLACE INTO e VALUES (?, ?)", row)

    def newest(self) -> object:
        return self.database.execute("SELECT v FROM e ORDER BY rowid DESC LIMIT 20").fetchall()

    def stats(self) -> object:
        return self.database.execute("SELECT COUNT(*), SUM(LENGTH(v)) FROM e").fetchone()

    def close(self) -> None:
        self.database.close()


class Ours:
    """The manager over one of its stores."""

    def __init__(self, folder: Path, text: str, url: str) -> None:
        storage = open_storage(url.format(folder=folder), home=folder)
        self.manager = CacheManager(storage, max_size_bytes=OTHER_LIMIT)
        self.loop = asyncio.new_event_loop()
        self.answer = GatewayResponse(
            content=text,
            model="claude-sonnet-5-5",
            input_tokens=100,
            output_tokens=2000,
            tokens_used=2100,
            estimated_cost=Decimal("0.0202"),
        )

    def hit(self, number: int) -> object:
        call = self.manager.get_or_buy(request(number), ROUTE, self.buy)
        try:
            call.send(None)
        except StopIteration as done:
            # A hit never waits: it can be driven without a loop, whose price is not ours.
            return done.value
        raise AssertionError("not a hit")

    async def buy(self) -> GatewayResponse:
        raise AssertionError("not a hit")

    def miss(self, number: int) -> object:
        return self.manager.get(request(number), ROUTE)

    def put(self, number: int) -> object:
        return self.manager.put(request(number), ROUTE, self.answer)

    def newest(self) -> object:
        return self.manager.list(limit=20)

    def stats(self) -> object:
        return self.manager.stats()

    def close(self) -> None:
        self.manager.close()
        self.loop.close()


class DiskCache:
    """diskcache, with our key."""

    def __init__(self, folder: Path, text: str) -> None:
        import diskcache

        self.cache = diskcache.Cache(str(folder), size_limit=OTHER_LIMIT)
        self.text = text

    def hit(self, number: int) -> object:
        return self.cache.get(key_for(request(number), ROUTE))

    miss = hit

    def put(self, number: int) -> object:
        return self.cache.set(key_for(request(number), ROUTE), self.text, expire=86400)

    def newest(self) -> object:
        return [key for key, _ in zip(self.cache, range(20), strict=False)]

    def stats(self) -> object:
        return len(self.cache), self.cache.volume()

    def close(self) -> None:
        self.cache.close()


class LangChain:
    """LangChain's SQLiteCache."""

    def __init__(self, folder: Path, text: str) -> None:
        from langchain_community.cache import SQLiteCache
        from langchain_core.outputs import Generation

        folder.mkdir(exist_ok=True)
        self.cache = SQLiteCache(database_path=str(folder / "db"))
        self.answer = [Generation(text=text)]

    def hit(self, number: int) -> object:
        return self.cache.lookup(request(number).prompt, "claude-sonnet-5-5")

    miss = hit

    def put(self, number: int) -> object:
        return self.cache.update(request(number).prompt, "claude-sonnet-5-5", self.answer)

    def newest(self) -> object:
        raise NotImplementedError

    stats = newest

    def close(self) -> None:
        self.cache.engine.dispose()


class Inspect:
    """inspect_ai's cache of model output."""

    def __init__(self, folder: Path, text: str) -> None:
        import os

        from inspect_ai.model import CachePolicy, GenerateConfig, ModelOutput
        from inspect_ai.model import _cache as cache
        from inspect_ai.model._chat_message import ChatMessageUser

        os.environ["INSPECT_CACHE_DIR"] = str(folder)
        self.module = cache

        def entry(number: int) -> object:
            return cache.CacheEntry(
                base_url=None,
                config=GenerateConfig(),
                input=[ChatMessageUser(content=request(number).prompt)],
                model="anthropic/claude-sonnet-5-5",
                policy=CachePolicy(expiry="1W"),
                tool_choice=None,
                tools=[],
            )

        self.entry = entry
        self.answer = ModelOutput.from_content("anthropic/claude-sonnet-5-5", text)

    def hit(self, number: int) -> object:
        return self.module.cache_fetch(self.entry(number))

    miss = hit

    def put(self, number: int) -> object:
        return self.module.cache_store(self.entry(number), self.answer)

    def newest(self) -> object:
        return self.module.cache_size()

    stats = newest

    def close(self) -> None:
        return None


class GptCache:
    """GPTCache with exact matching over SQLite."""

    def __init__(self, folder: Path, text: str) -> None:
        from gptcache import Cache
        from gptcache.adapter.api import get, put
        from gptcache.manager import get_data_manager
        from gptcache.processor.pre import get_prompt

        folder.mkdir(exist_ok=True)
        self.cache = Cache()
        self.cache.init(
            pre_embedding_func=get_prompt,
            data_manager=get_data_manager(data_path=str(folder / "map"), max_size=10**9),
        )
        self.get, self.add, self.text = get, put, text

    def hit(self, number: int) -> object:
        return self.get(request(number).prompt, cache_obj=self.cache)

    miss = hit

    def put(self, number: int) -> object:
        return self.add(request(number).prompt, self.text, cache_obj=self.cache)

    def newest(self) -> object:
        raise NotImplementedError

    stats = newest

    def close(self) -> None:
        self.cache.flush()


SUBJECTS: dict[str, Opener] = {
    "floor: one file": Files,
    "floor: one SQLite row": Rows,
    "aigenflow file": lambda folder, text: Ours(folder, text, "file:"),
    "aigenflow sqlite": lambda folder, text: Ours(folder, text, "sqlite:///{folder}/db"),
    "diskcache": DiskCache,
    "langchain SQLiteCache": LangChain,
    "inspect_ai": Inspect,
    "gptcache exact": GptCache,
}


def microseconds(work: Callable[[int], object], numbers: list[int]) -> float:
    """Of one operation, over the given keys. Making the questions is not part of it."""
    REQUESTS.clear()
    REQUESTS.update((number, new_request(number)) for number in numbers)
    started = time.perf_counter()
    for number in numbers:
        work(number)
    return (time.perf_counter() - started) / len(numbers) * 1e6


def milliseconds(work: Callable[[], object]) -> float:
    """Of one call; not a number where there is no such call."""
    started = time.perf_counter()
    try:
        work()
    except NotImplementedError:
        return float("nan")
    return (time.perf_counter() - started) * 1e3


def filled(root: Path, text: str, entries: int) -> dict[str, Subject]:
    """Every subject that can be imported, with ``entries`` entries."""
    subjects: dict[str, Subject] = {}
    for name, opener in SUBJECTS.items():
        try:
            subject = opener(root / name.replace(" ", "-").replace(":", ""), text)
        except ImportError as error:
            print(f"  {name}: left out ({error})")
            continue
        started = time.perf_counter()
        for number in range(entries):
            subject.put(number)
        subjects[name] = subject
        print(f"  {name}: filled in {time.perf_counter() - started:.1f} s", flush=True)
    return subjects


def take_turns(
    subjects: dict[str, Subject], entries: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Median microseconds of hit, miss and put of each subject."""
    turns: dict[str, dict[str, list[float]]] = {
        name: {"hit": [], "miss": [], "put": []} for name in subjects
    }
    until = time.perf_counter() + seconds * len(subjects)
    new = entries
    while time.perf_counter() < until or not turns:
        numbers = random.sample(range(entries), TURN)
        absent = [MISSES + number for number in numbers]
        for name, subject in random.sample(list(subjects.items()), len(subjects)):
            turns[name]["hit"].append(microseconds(subject.hit, numbers))
            turns[name]["miss"].append(microseconds(subject.miss, absent))
            turns[name]["put"].append(microseconds(subject.put, list(range(new, new + TURN))))
        new += TURN
    return {
        name: {kind: statistics.median(values) for kind, values in kinds.items()}
        for name, kinds in turns.items()
    }


def first_uses(root: Path, text: str, name: str) -> dict[str, float]:
    """Milliseconds of the first hit, list and stats, each of a new opener."""
    folder = root / name.replace(" ", "-").replace(":", "")
    measured = {}
    for kind, use in (
        ("open", lambda subject: subject.hit(1)),
        ("list", lambda subject: subject.newest()),
        ("stats", lambda subject: subject.stats()),
    ):
        values = []
        for _ in range(3):
            started = time.perf_counter()
            subject = SUBJECTS[name](folder, text)
            opened = (time.perf_counter() - started) * 1e3
            values.append(opened + milliseconds(lambda use=use, subject=subject: use(subject)))
            subject.close()
        measured[kind] = statistics.median(values)
    return measured


def show(entries: int, kilobytes: int, seconds: float) -> None:
    """Measure one size and print its table."""
    print(f"\n{entries:,} entries of {kilobytes} KB")
    text = (SENTENCE * (kilobytes * 1024 // len(SENTENCE) + 1))[: kilobytes * 1024]
    root = Path(tempfile.mkdtemp(prefix="aigenflow-benchmark-"))
    try:
        subjects = filled(root, text, entries)
        measured = take_turns(subjects, entries, seconds)
        for subject in subjects.values():
            subject.close()
        floor = measured["floor: one file"]
        print(
            f"{'':24}{'hit us':>16}{'miss us':>16}{'put us':>18}"
            f"{'open':>8}{'list':>8}{'stats ms':>10}"
        )
        for name, figures in measured.items():
            cells = [
                f"{figures[kind]:9.1f} x{figures[kind] / floor[kind]:5.1f}"
                for kind in ("hit", "miss", "put")
            ]
            first = first_uses(root, text, name)
            print(
                f"{name:24}{cells[0]:>16}{cells[1]:>16}{cells[2]:>18}"
                f"{first['open']:8.1f}{first['list']:8.1f}{first['stats']:10.1f}",
                flush=True,
            )
            if name == "aigenflow file":
                judge(entries, measured, first)
    finally:
        shutil.rmtree(root)


def judge(entries: int, measured: dict[str, dict[str, float]], first: dict[str, float]) -> None:
    """The targets of the default store, as far as the peers are there."""
    ours, floor = measured["aigenflow file"], measured["floor: one file"]
    note = f"{entries:,} entries"
    at_most("cache hit, of opening and reading a file", 2.5, ours["hit"] / floor["hit"], "x", note)
    at_most("cache put, of writing and renaming a file", 2, ours["put"] / floor["put"], "x", note)
    if (diskcache := measured.get("diskcache")) is not None:
        at_most("cache hit, of diskcache's", 1, ours["hit"] / diskcache["hit"], "x", note)
    at_most("first hit of a process", 5, first["open"], "ms", note)
    at_most("cache list --limit 20, work", 100, first["list"], "ms", note)
    at_most("cache stats, work", 100, first["stats"], "ms", note)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--kilobytes", type=int, nargs="+", default=[8])
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names; floors stay")
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring, per store")
    options = parser.parse_args()
    for name in list(SUBJECTS):
        if not any(part in name for part in (*options.only, "floor")):
            del SUBJECTS[name]
    for kilobytes in options.kilobytes:
        for entries in options.entries:
            show(entries, kilobytes, options.seconds)


if __name__ == "__main__":
    main()
