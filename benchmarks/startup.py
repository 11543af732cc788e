"""How long `aigenflow --help` takes, beside an empty Python and the CLI library's hello world.

Every round runs each command once, in turn; medians of wall time. The bound that the project sets
itself: at most 2.5 times (empty Python + hello world).

    python benchmarks/startup.py [rounds]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from targets import at_most

BOUND = 2.5
BOUNDS_S = {
    "aigenflow --version": 0.15,
    "aigenflow --help": 0.15,
    "aigenflow stats": 0.25,
    "aigenflow cache stats": 0.25,
}
HELLO = """
import click

@click.command()
def hello():
    click.echo("hello")

hello()
"""


def seconds(command: list[str], home: Path) -> float:
    start = time.perf_counter()
    environ = {**os.environ, "AIGENFLOW_HOME": str(home)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)
    return time.perf_counter() - start


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hello = Path(folder, "hello.py")
        hello.write_text(HELLO)
        python = sys.executable
        program = str(Path(python).parent / "aigenflow")
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "click hello world": [python, str(hello)],
            "aigenflow --version": [program, "--version"],
            "aigenflow --help": [program, "--help"],
            "aigenflow run --help": [program, "run", "--help"],
            "aigenflow status": [program, "status", "--output-dir", folder],
            "aigenflow stats": [program, "stats"],
            "aigenflow cache stats": [program, "cache", "stats"],
        }
        for command in commands.values():
            seconds(command, Path(folder))
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _round in range(rounds):
            for name, command in commands.items():
                times[name].append(seconds(command, Path(folder)))
    medians = {name: statistics.median(values) for name, values in times.items()}
    floor = medians["python -c pass"] + medians["click hello world"]
    print(f"{rounds} rounds, medians of wall time")
    for name, median in medians.items():
        print(f"  {name:22} {median * 1000:7.1f} ms  {median / floor:5.2f} x the floor")
    print(f"  the floor is the sum of the first two: {floor * 1000:.1f} ms; the bound {BOUND} x")
    for name, bound_s in BOUNDS_S.items():
        at_most(name, bound_s, medians[name], "s wall")
    for name in ("aigenflow --version", "aigenflow --help"):
        at_most(name, BOUND, medians[name] / floor, "x (empty Python + hello world)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
