"""Run every benchmark and write docs/performance.md from what they print.

    python benchmarks/report.py [--only savings router] [--output docs/performance.md]

About ten minutes on a quiet machine with two cores. What each script printed is kept under
``~/.cache/aigenflow-benchmarks/output``: with ``--only`` the others are taken from there, with the
date at which they ran. No figure is written by hand.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from targets import Target, targets_in, without_targets

HERE = Path(__file__).parent
KEPT = Path.home() / ".cache" / "aigenflow-benchmarks" / "output"
SCRIPTS: dict[str, tuple[str, ...]] = {
    "savings": (),
    "processing": (),
    "peers": ("--rounds", "2"),
    "router": (),
    "cache": (),
    "ledger": ("200000",),
    "batch": ("--documents", "20", "--rounds", "3"),
    "tracking": ("--latency", "1"),
    "startup": (),
}
"""Each script with what keeps it short, in the order of the page."""

_INTRODUCTION = """\
# Performance

This page is generated: `python benchmarks/report.py` runs every script of `benchmarks/` and writes
down what it printed. Everything that is compared ran interleaved in one run of its script; absolute
times belong to the machine and its mood, ratios within a run hold. No live provider was measured:
the wire-format server of `aigenflow.testing` plays them, and its bill is the one that counts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What a script printed, and when and where it ran. ``load`` is that of the minute before."""

    script: str
    command: str
    at: str
    machine: str
    load: float
    seconds: float
    output: str


def machine() -> str:
    """The processor, its cores, the system and Python."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.machine()
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return f"{processor}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def run(script: str, arguments: Sequence[str]) -> Printed:
    """Run one script; raises ``CalledProcessError`` where it fails."""
    began, load = datetime.now(UTC), os.getloadavg()[0]
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Printed(
        script=script,
        command=" ".join(("python", f"benchmarks/{script}.py", *arguments)),
        at=began.isoformat(" ", "minutes"),
        machine=machine(),
        load=load,
        seconds=(datetime.now(UTC) - began).total_seconds(),
        output=done.stdout,
    )


def keep(printed: Printed) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(printed), indent=1)
    (KEPT / f"{printed.script}.json").write_text(text, encoding="utf-8")


def kept(script: str) -> Printed | None:
    """What the script printed last; ``None`` where it has not run here."""
    path = KEPT / f"{script}.json"
    return Printed(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def explanation(script: str) -> str:
    """The script's own words, without its usage."""
    tree = ast.parse((HERE / f"{script}.py").read_text(encoding="utf-8"))
    paragraphs = (ast.get_docstring(tree) or "").split("\n\n")
    told = (text for text in paragraphs if not text.startswith("    "))
    return "\n\n".join(told).replace("``", "`")


def table(targets: Iterable[Target]) -> str:
    rows = [
        f"| {target.name} | {target.wanted} | {target.measured} | "
        f"{'met' if target.met else '**missed**'} | {target.note} |"
        for target in targets
    ]
    return "\n".join(("| target | wanted | measured | | |", "|---|---|---|---|---|", *rows))


def section(printed: Printed) -> str:
    when = f"{printed.at}, {printed.seconds:.0f} s, load average before it {printed.load:.1f}"
    return (
        f"## {printed.script}\n\n{explanation(printed.script)}\n\n"
        f"`{printed.command}`: {when}; {printed.machine}.\n\n"
        f"```text\n{without_targets(printed.output)}\n```\n"
    )


def page(all_printed: Sequence[Printed]) -> str:
    """The whole page."""
    found = [target for printed in all_printed for target in targets_in(printed.output)]
    sections = "\n".join(section(printed) for printed in all_printed)
    return f"{_INTRODUCTION}\n## Targets\n\n{table(found)}\n\n{sections}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=SCRIPTS, help="scripts to run; none: no one")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "performance.md")
    given = parser.parse_args()
    for script in SCRIPTS if given.only is None else given.only:
        print(script, flush=True)
        keep(run(script, SCRIPTS[script]))
    text = page([printed for printed in map(kept, SCRIPTS) if printed is not None])
    given.output.write_text(text, encoding="utf-8")
    print(given.output)


if __name__ == "__main__":
    main()
