"""The ledger's totals as a file for Prometheus: node_exporter's textfile collector reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from filelock import FileLock

from aigenflow.core.files import OPS, ensure_directory, staged
from aigenflow.monitoring.models import Dimension, Totals
from aigenflow.monitoring.tracker import TokenTracker

READABLE_BY_ALL = 0o644
"""node_exporter runs as a user of its own, and sums are no secret."""

LOCK_TIMEOUT_S = 5

Sample = tuple[str, int | Decimal]
"""A label beside the provider's, empty where there is none, and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric: ``samples`` are taken from a provider's totals."""

    name: str
    help: str
    samples: Callable[[Totals], Sequence[Sample]]
    kind: str = "counter"


FAMILIES = (
    Family(
        name="aigenflow_calls_total",
        help="Calls billed by a provider, failed ones included; not answers from the cache.",
        samples=lambda t: [("", t.calls - t.cache_hits)],
    ),
    Family(
        name="aigenflow_cache_hits_total",
        help="Answers from the response cache.",
        samples=lambda t: [("", t.cache_hits)],
    ),
    Family(
        name="aigenflow_unpriced_calls_total",
        help="Calls whose price is not known: aigenflow_cost_usd_total lacks them.",
        samples=lambda t: [("", t.unpriced_calls)],
    ),
    Family(
        name="aigenflow_input_tokens_total",
        help="Input tokens billed, those read from and written to prompt caches included.",
        samples=lambda t: [("", t.input_tokens)],
    ),
    Family(
        name="aigenflow_output_tokens_total",
        help="Output tokens billed, reasoning included.",
        samples=lambda t: [("", t.output_tokens)],
    ),
    Family(
        name="aigenflow_cached_input_tokens_total",
        help="The part of the input tokens that was read from a provider's prompt cache.",
        samples=lambda t: [("", t.cached_input_tokens)],
    ),
    Family(
        name="aigenflow_reasoning_tokens_total",
        help="The part of the output tokens that was reasoning.",
        samples=lambda t: [("", t.reasoning_tokens)],
    ),
    Family(
        name="aigenflow_cost_usd_total",
        help="Billed, in US dollars.",
        samples=lambda t: [("", t.billed)],
    ),
    Family(
        name="aigenflow_wasted_usd_total",
        help="The part of the cost that bought nothing that was used, in US dollars.",
        samples=lambda t: [("", t.wasted)],
    ),
    Family(
        name="aigenflow_saved_usd",
        help="Saved against live full price, in US dollars; a prompt cache never read costs extra.",
        samples=lambda t: [
            ("response_cache", t.response_cache_saving),
            ("prompt_cache", t.prompt_cache_saving),
            ("batch", t.batch_saving),
            ("flex", t.flex_saving),
        ],
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
        for by, value in family.samples(totals):
            labels = f'provider="{_escaped(totals.key)}"' + (f',by="{by}"' if by else "")
            yield f"{family.name}{{{labels}}} {value:f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
