"""What the scripts of ``peers.py`` share; nothing but the standard library.

    SCRIPT URL PROMPTS AT_ONCE FOLDER [PASSES]

Each asks PROMPTS questions of the server at URL, at most AT_ONCE at a time, PASSES times over, with
whatever it remembers in FOLDER, and prints the seconds and CPU seconds of each pass as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MODEL = "gpt-6.1-sol"
MAX_TOKENS = 400


class Work(NamedTuple):
    """What a script is asked to do."""

    url: str
    prompts: list[str]
    at_once: int
    folder: Path


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(one_pass: Callable[[Work], None]) -> None:
    """Read the command line, and time every pass."""
    url, prompts, at_once, folder, *rest = sys.argv[1:]
    questions = [
        f"Name risk number {n} of a meal kit service, in one sentence." for n in range(int(prompts))
    ]
    work = Work(url, questions, int(at_once), Path(folder))
    passes = []
    for _ in range(int(rest[0]) if rest else 1):
        started, cpu = time.perf_counter(), cpu_seconds()
        one_pass(work)
        passes.append({"s": time.perf_counter() - started, "cpu_s": cpu_seconds() - cpu})
    print(json.dumps(passes))
