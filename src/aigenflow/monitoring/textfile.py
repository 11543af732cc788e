"""The ledger's totals as a file for Prometheus: node_exporter's textfile collector reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock

from aigenflow.core.files import OPS, ensure_directory, staged
from aigenflow.monitoring.models import Dimension, Totals
from aigenflow.monitoring.tracker import TokenTracker

READABLE_BY_ALL = 0o644
"""node_exporter runs as a user of its own, and sums are no secret."""

LOCK_TIMEOUT_S = 5

Figure: TypeAlias = Callable[[Totals], int | Decimal]
"""Takes one value from a provider's totals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric: its figures by a label beside the provider's, empty where there is none."""

    name: str
    help: str
    samples: Mapping[str, Figure]
    kind: str = "counter"


def _counter(field: str, help_text: str, *, name: str = "") -> Family:
    """A metric that counts one field of the totals."""
    return Family(
        name=f"aigenflow_{name or field}_total",
        help=help_text,
        samples={"": attrgetter(field)},
    )


FAMILIES = (
    Family(
        name="aigenflow_calls_total",
        help="Calls billed by a provider, failed ones included; not answers from the cache.",
        samples={"": lambda t: t.calls - t.cache_hits},
    ),
    _counter("cache_hits", "Answers from the response cache."),
    _counter(
        "unpriced_calls", "Calls whose price is not known: aigenflow_cost_usd_total lacks them."
    ),
    _counter(
        "input_tokens",
        "Input tokens billed, those read from and written to prompt caches included.",
    ),
    _counter("output_tokens", "Output tokens billed, reasoning included."),
    _counter(
        "cached_input_tokens",
        "The part of the input tokens that was read from a provider's prompt cache.",
    ),
    _counter("reasoning_tokens", "The part of the output tokens that was reasoning."),
    _counter("billed", "Billed, in US dollars.", name="cost_usd"),
    _counter(
        "wasted",
        "The part of the cost that bought nothing that was used, in US dollars.",
        name="wasted_usd",
    ),
    Family(
        name="aigenflow_saved_usd",
        help="Saved against live full price, in US dollars; a prompt cache never read costs extra.",
        samples={
            by: attrgetter(f"{by}_saving")
            for by in ("response_cache", "prompt_cache", "batch", "flex")
        },
        kind="gauge",
    ),
)


def render(by_provider: Sequence[Totals]) -> str:
    """Totals, one per provider, in the text format of Prometheus. Pure; values are exact."""
    return "\n".join(line for family in FAMILIES for line in _lines(family, by_provider)) + "\n"


def write_textfile(path: Path, tracker: TokenTracker, home: Path) -> None:
    """Publish the ledger's totals at ``path``; a reader sees the old or the new file.

    Totals are read and written under one lock, so that a slower process never puts older ones
    over newer ones, which Prometheus would take for a counter that began anew.

    Raises ``OSError``, and ``ConfigError`` where the ledger cannot be read.
    """
    ensure_directory(path.parent)
    ensure_directory(home)
    with FileLock(home / ".textfile.lock", timeout=LOCK_TIMEOUT_S, mode=0o600):
        text = render(tracker.totals(Dimension.PROVIDER))
        with staged(path.parent, text.encode()) as temporary:
            OPS.chmod(temporary, READABLE_BY_ALL)
            OPS.replace(temporary, path)


def _lines(family: Family, by_provider: Sequence[Totals]) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for totals in by_provider:
        for by, figure in family.samples.items():
            labels = f'provider="{_escaped(totals.key)}"' + (f',by="{by}"' if by else "")
            yield f"{family.name}{{{labels}}} {figure(totals):f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
