"""What monitoring adds to a run: time and memory, with it on and with it off, in turn.

    python benchmarks/tracking.py [--latency 5] [--rounds 3]

Whole runs of the command line against the wire-format server, whose every answer takes
``--latency`` seconds (live models take longer: ten seconds to minutes for answers of this length).
Medians of wall time, CPU time and the largest memory. The bounds that the project sets itself: 1 %
of run time and 50 MB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from targets import at_most

from aigenflow.testing.process import WireServerProcess

AGENTS = ("CLAUDE", "CHATGPT", "GEMINI", "PERPLEXITY")


def run(url: str, home: Path, *, monitoring: bool) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and megabytes of one run."""
    environ = {
        **os.environ,
        "AIGENFLOW_HOME": str(home),
        "AIGENFLOW_FEATURES__MONITORING_ENABLED": str(monitoring).lower(),
        **{f"AIGENFLOW_AGENTS__{agent}__BASE_URL": url for agent in AGENTS},
    }
    command = [sys.executable, "-m", "aigenflow", "run", "--topic", "Subscription meal kits"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--no-cache", "--quiet", "--output-dir", str(home / "output")],
        env=environ,
        stdout=subprocess.DEVNULL,
    )
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="What monitoring adds to a run.")
    parser.add_argument("--latency", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    script = {"defaults": {"latency_s": options.latency}}
    results: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        WireServerProcess(script, state_dir=Path(folder, "wire")) as server,
    ):
        run(server.url, Path(folder, "warm"), monitoring=True)
        for n in range(options.rounds):
            for monitoring in (True, False) if n % 2 else (False, True):
                home = Path(folder, f"{n}-{monitoring}")
                results[monitoring].append(run(server.url, home, monitoring=monitoring))
    print(f"{options.rounds} rounds, answers after {options.latency} s, medians")
    medians = {}
    for monitoring, values in results.items():
        wall, cpu, memory = (statistics.median(column) for column in zip(*values, strict=True))
        medians[monitoring] = (wall, cpu, memory)
        word = "on " if monitoring else "off"
        print(f"  monitoring {word}  {wall:8.2f} s wall  {cpu:6.2f} s CPU  {memory:7.1f} MB")
    on, off = medians[True], medians[False]
    print(f"  difference     {on[0] - off[0]:+8.2f} s wall ({(on[0] / off[0] - 1):+.2%})", end="")
    print(f"  {on[1] - off[1]:+6.2f} s CPU  {on[2] - off[2]:+7.1f} MB")
    note = f"answers after {options.latency:g} s"
    at_most("monitoring, of run time", 1, (on[0] / off[0] - 1) * 100, "%", note)
    at_most("monitoring, memory", 50, on[2] - off[2], "MB")


if __name__ == "__main__":
    main()
