"""The server's own bill: what a provider would charge, kept apart from what the product says.

One line per request, in memory and, where there is a state directory, appended to
``bill.jsonl``. The file is written with its own handle and not through ``core.files``: a test that
breaks the product's disk must not break the bill.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path

from aigenflow.core.models import Backend, Json
from aigenflow.testing.wire_models import Counts
from aigenflow.testing.wire_perplexity import total_cost

FILE_NAME = "bill.jsonl"
_FILE_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One request. Tokens are totals that contain their parts; seconds and US dollars.

    ``outcome`` is ``complete``, ``refused`` (by validation, key, limit or a scripted status),
    ``client_gone``, or the name of the fault. ``billed`` says whether the provider charges; an
    unbilled line has counts of zero. ``total_cost`` is what the provider itself names
    (Perplexity). ``question`` is a digest of what was asked, however it was bought: the same for
    a live call and for an item of a batch ``job``, whose id is ``item``.
    """

    number: int
    at: str
    provider: str
    model: str
    stream: bool
    tier: str
    body_sha256: str
    status: int | None
    outcome: str
    billed: bool
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    tool_prompt_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    search_calls: int = 0
    total_cost: str | None = None
    events_sent: int = 0
    bytes_sent: int = 0
    rule: int | None = None
    duration_s: float = 0.0
    question: str = ""
    job: str = ""
    item: str = ""


_HOW_BOUGHT = frozenset({"stream", "stream_options", "service_tier", "serviceTier"})


def question_of(body: Mapping[str, Json]) -> str:
    """A digest of ``body`` without what only says how its answer is bought and sent."""
    asked = {name: value for name, value in body.items() if name not in _HOW_BOUGHT}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class Bill:
    """All lines so far. ``reset`` forgets them in memory; the file keeps everything."""

    def __init__(self, directory: Path | None = None) -> None:
        self._lines: list[BillLine] = []
        self._descriptor: int | None = None
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(directory / FILE_NAME, flags, _FILE_MODE)

    @property
    def lines(self) -> tuple[BillLine, ...]:
        return tuple(self._lines)

    def add(self, line: BillLine) -> None:
        """Keep a line; it is with the operating system when this returns."""
        self._lines.append(line)
        if self._descriptor is not None:
            os.write(self._descriptor, json.dumps(asdict(line)).encode() + b"\n")

    def reset(self) -> None:
        self._lines.clear()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_bill(directory: Path) -> tuple[BillLine, ...]:
    """The lines of ``bill.jsonl`` in ``directory``; none where there is no file."""
    path = directory / FILE_NAME
    if not path.exists():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(BillLine(**json.loads(line)) for line in lines)


def summarise(lines: Iterable[BillLine]) -> dict[str, Json]:
    """Sums per provider and over all; ``duplicates`` are questions that were charged again."""
    by_provider: dict[str, list[BillLine]] = {}
    for line in lines:
        by_provider.setdefault(line.provider, []).append(line)
    everything = [line for group in by_provider.values() for line in group]
    return {
        "total": _sums(everything),
        "providers": {name: _sums(group) for name, group in sorted(by_provider.items())},
    }


def _sums(lines: list[BillLine]) -> dict[str, Json]:
    billed = [line for line in lines if line.billed]
    failed = [line for line in lines if line.outcome != "complete"]
    questions = {(line.provider, line.model, line.question) for line in billed}
    costs = [Decimal(line.total_cost) for line in billed if line.total_cost is not None]
    return {
        "requests": len(lines),
        "billed": len(billed),
        "duplicates": len(billed) - len(questions),
        "failed": len(failed),
        "failed_but_billed": sum(line.billed for line in failed),
        "input_tokens": sum(line.input_tokens for line in billed),
        "cached_input_tokens": sum(line.cached_input_tokens for line in billed),
        "cache_write_5m_tokens": sum(line.cache_write_5m_tokens for line in billed),
        "cache_write_1h_tokens": sum(line.cache_write_1h_tokens for line in billed),
        "output_tokens": sum(line.output_tokens for line in billed),
        "reasoning_tokens": sum(line.reasoning_tokens for line in billed),
        "search_calls": sum(line.search_calls for line in billed),
        "total_cost": f"{sum(costs, Decimal(0)).normalize():f}" if costs else None,
    }


def charges(provider: Backend, counts: Counts | None, share: float | None) -> dict[str, Json]:
    """The columns of a line that say what it costs.

    ``share`` (0..1) of the output was generated; ``None`` means that nothing is charged.
    """
    if counts is None or share is None:
        return {"billed": False}
    output = round(counts.output_tokens * share)
    charged = replace(
        counts,
        output_tokens=output,
        reasoning_tokens=min(counts.reasoning_tokens, output),
    )
    columns: dict[str, Json] = {"billed": True, **asdict(charged)}
    columns["input_tokens"] = counts.input_tokens + counts.tool_prompt_tokens
    if provider is Backend.PERPLEXITY:
        columns["total_cost"] = f"{total_cost(charged).normalize():f}"
    return columns
