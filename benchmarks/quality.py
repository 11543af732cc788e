"""How fast and how sharp the quality checks are: 100 pages, and 20 documents x 30 defects.

Run with ``python benchmarks/quality.py [--documents 20]``. Nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "quality"))

from corpus import build, clean_documents  # type: ignore[import-not-found]
from defects import DEFECTS  # type: ignore[import-not-found]

from aigenflow.core.models import Language
from aigenflow.quality.checks import CHECKS
from aigenflow.quality.models import State
from aigenflow.quality.report import assess

CHARACTERS_PER_PAGE = 2_000
PAGES = 100
CHECK = {check.id: check for check in CHECKS}


def speed(language: Language) -> None:
    """Print how long a document of 100 pages takes."""
    inputs = build(3, language).inputs()
    times = PAGES * CHARACTERS_PER_PAGE // len(inputs.markdown) + 1
    text = "\n\n".join(
        inputs.markdown.replace("Table ", f"Table {n}").replace("표 ", f"표 {n}")
        for n in range(times)
    )[: PAGES * CHARACTERS_PER_PAGE]
    started = time.perf_counter()
    assess(replace(inputs, markdown=text))
    print(f"{language.value}: {len(text):,} characters in {time.perf_counter() - started:.2f} s")


def recall(count: int) -> None:
    """Print, per check, in how many documents the planted defect was found."""
    found: Counter[str] = Counter()
    planted: Counter[str] = Counter()
    most = 0
    for document in list(clean_documents())[:count]:
        before = assess(document.inputs())
        most = max(most, len(before.findings))
        states = {check.id: check.findings for check in before.checks}
        for check, spoil in DEFECTS.items():
            spoiled = copy.deepcopy(document)
            if not spoil(spoiled):
                continue
            planted[check] += 1
            [result] = assess(spoiled.inputs(), [CHECK[check]]).checks
            is_new = bool(set(result.findings) - set(states[check]))
            found[check] += result.state in (State.FAIL, State.WARN) and is_new
    print(f"findings in a clean document: at most {most}")
    for check in DEFECTS:
        gate = "gate" if CHECK[check].gate else ""
        print(f"{check} {found[check]:3} of {planted[check]:3} {gate}")
    print(f"all {sum(found.values())} of {sum(planted.values())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20)
    wanted = parser.parse_args()
    for each in Language:
        speed(each)
    recall(wanted.documents)
