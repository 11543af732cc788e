"""What the same document costs live, at the flex rate and in batch jobs: the server's own bill.

    python benchmarks/processing.py

One document in English and one in Korean are written with each ``--processing`` against the
wire-format server, cache off. Everything is as in ``savings.py``: its clock, its server, its
prices; the server answers at once and ends a job after one look, so the time a live provider
takes is not measured here. ``discounted`` are the calls that were billed at half the price: web
searches are never put into a batch, Perplexity has no discount, and Anthropic has no flex.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from savings import (
    PROMPTS,
    Bought,
    Document,
    FastClock,
    Server,
    add_up,
    settings_for,
)

from aigenflow.app import App
from aigenflow.core.models import Language, ProcessingChoice
from aigenflow.pipeline.assignment import Assignment
from aigenflow.testing.process import WireServerProcess

DOCUMENTS = (
    Document(topic="Subscription meal kits for people with diabetes", at="1 09:00"),
    Document(topic="당뇨 환자를 위한 식단 구독 서비스", at="2 09:00", lang=Language.KO),
)
WITHIN = timedelta(hours=24)


async def write(server: Server, choice: ProcessingChoice, home: Path) -> list[Bought]:
    """Write every document in one way; what the server billed."""
    clock, bought = FastClock(), []
    settings = settings_for(server, home, PROMPTS)
    features = settings.features.model_copy(update={"batch_processing_enabled": True})
    settings = settings.model_copy(update={"features": features})
    for document in DOCUMENTS:
        clock.jump(document.begins)
        server.reset()
        server.forget_prompts(prompts=True)
        deadline = document.begins + WITHIN if choice is ProcessingChoice.AUTO else None
        async with App(
            settings, home=home, clock=clock, processing=choice, deadline=deadline
        ) as app:
            await app.write(
                app.start(
                    Assignment(
                        topic=document.topic,
                        document_type=document.type,
                        template=document.template,
                        language=document.lang,
                    )
                )
            )
        bought += [Bought(line=line, document=document) for line in server.bill() if line.billed]
    return bought


async def measure(server: Server) -> dict[ProcessingChoice, list[Bought]]:
    bought = {}
    for choice in ProcessingChoice:
        with tempfile.TemporaryDirectory(prefix="aigenflow-processing-") as folder:
            bought[choice] = await write(server, choice, Path(folder))
    return bought


def show(bought: dict[ProcessingChoice, Sequence[Bought]]) -> None:
    live = add_up(bought[ProcessingChoice.LIVE]).cost
    print(f"{'processing':12}{'calls':>7}{'discounted':>12}{'dollars':>10}{'against live':>14}")
    for choice, lines in bought.items():
        sums = add_up(lines)
        share = sums.cost / live - 1
        print(
            f"{choice.value:12}{sums.calls:7}{sums.discounted:12}"
            f"{sums.cost.quantize(Decimal('0.0001')):>10}{share:>+14.1%}"
        )
    print(
        f"{len(DOCUMENTS)} documents; auto had {WITHIN.total_seconds() / 3600:.0f} hours for each"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, WireServerProcess(state_dir=Path(folder)) as wire:
        show({**asyncio.run(measure(Server(wire.url)))})


if __name__ == "__main__":
    main()
