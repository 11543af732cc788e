"""The same prompts through aigenflow and through what one would use instead, side by side.

    python benchmarks/peers.py [--prompts 1000] [--at-once 64] [--latency 0.05] [--rounds 3]

Each of ``peer_scripts/`` runs in a process of its own against one wire-format server, in turn:

* ``cold``: nothing remembered. Wall and CPU seconds of the prompts, and of the ``whole`` process
  with Python's start and imports (an import that waits for the first call counts as the prompts');
  the largest memory of the process; the dollars of the server's bill.
* ``rerun``: the same job again in a new process, with what the first one left on disk, and how many
  of its calls were billed; ``same process``: a second pass without a new process.
* ``kill -9``: killed as soon as the server has billed half of the prompts, then run again. ``bought
  twice`` are the calls that the server billed beyond one for each prompt.

Everybody asks for the same model, and the server bills every answer as 20 tokens of input and 100
of output; LiteLLM and Curator speak chat completions, the other two the Responses API. aigenflow
does more than the others meanwhile: it reserves each call's worst case in the ledger and syncs it
to the disk, and writes a row and a cache entry for each answer. LiteLLM keeps its cache in memory
(its disk cache was removed). Curator remembers a whole run: one changed prompt, and all are bought
again. Medians over the rounds.

LiteLLM and Curator live in environments of their own under ``~/.cache/aigenflow-benchmarks``, made
at the first run. LiteLLM 1.82.7 and 1.82.8 (the two compromised releases) are excluded by name.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from savings import dollars
from targets import at_least, at_most

from aigenflow.core.models import Json
from aigenflow.testing.bill import BillLine
from aigenflow.testing.process import WireServerProcess

SCRIPTS = Path(__file__).parent / "peer_scripts"
ENVIRONMENTS = Path.home() / ".cache" / "aigenflow-benchmarks"
MODEL_IS = "openai"
QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "DO_NOT_TRACK": "1",
    "AIGENFLOW_LOCAL__DISCOVER": "false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to ask. ``needs`` is what its own environment holds; none: this one."""

    name: str
    script: str
    needs: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        if not self.needs:
            return Path(sys.executable)
        return ENVIRONMENTS / self.script / "bin" / "python"


OURS = Peer(name="aigenflow", script="ours")
PLAIN = Peer(name="openai SDK and gather", script="plain")
LITELLM = Peer(
    name="LiteLLM SDK",
    script="litellm_sdk",
    # The last two are imported by its cache, and not among what it asks to be installed.
    needs=("litellm!=1.82.7,!=1.82.8", "fastapi", "soundfile"),
)
CURATOR = Peer(name="Curator", script="curator_llm", needs=("bespokelabs-curator",))
PEERS = (OURS, PLAIN, LITELLM, CURATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process. ``passes`` are wall and CPU seconds of the prompts alone."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    passes: tuple[tuple[float, float], ...]
    bill: tuple[BillLine, ...]

    @property
    def billed(self) -> int:
        return sum(line.billed for line in self.bill)

    @property
    def dollars(self) -> Decimal:
        lines = (line for line in self.bill if line.billed)
        return sum((dollars(_as_model(line)) for line in lines), Decimal(0))


def _as_model(line: BillLine) -> BillLine:
    """Chat completions are billed to ``compatible``: here they are the same vendor's."""
    return replace(line, provider=MODEL_IS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every peer is asked to do."""

    server: WireServerProcess
    prompts: int
    at_once: int

    def bill(self) -> tuple[BillLine, ...]:
        with urllib.request.urlopen(self.server.url + "/_bill") as answer:
            return tuple(BillLine(**line) for line in json.load(answer))

    def reset(self) -> None:
        url = self.server.url + "/_reset"
        urllib.request.urlopen(urllib.request.Request(url, data=b"{}")).close()

    def start(self, peer: Peer, folder: Path, passes: int = 1) -> subprocess.Popen[str]:
        work = (self.server.url, str(self.prompts), str(self.at_once), str(folder), str(passes))
        return subprocess.Popen(
            [str(peer.python), str(SCRIPTS / f"{peer.script}.py"), *work],
            env={**os.environ, **QUIET},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, peer: Peer, folder: Path, passes: int = 1) -> Run:
        """To the end. Raises ``RuntimeError`` where it fails."""
        self.reset()
        begin = time.perf_counter()
        process = self.start(peer, folder, passes)
        assert process.stdout is not None
        printed = process.stdout.read()
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{peer.name} failed with exit code {process.returncode}")
        return Run(
            wall_s=time.perf_counter() - begin,
            cpu_s=usage.ru_utime + usage.ru_stime,
            rss_mb=usage.ru_maxrss / 1024,
            passes=tuple((one["s"], one["cpu_s"]) for one in json.loads(printed.splitlines()[-1])),
            bill=self.bill(),
        )

    def killed_and_run_again(self, peer: Peer, folder: Path) -> int:
        """Calls billed beyond one for each prompt, after a kill at half of them."""
        self.reset()
        process = self.start(peer, folder)
        while process.poll() is None and self._count() < self.prompts // 2:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        time.sleep(0.5)  # what the server is still answering is billed as well
        before = sum(line.billed for line in self.bill())
        return before + self.run(peer, folder).billed - self.prompts

    def _count(self) -> int:
        with urllib.request.urlopen(self.server.url + "/_bill/summary") as answer:
            summary: Json = json.load(answer)
        return int(summary["total"]["billed"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Medians of one peer."""

    whole_s: float
    whole_cpu_s: float
    cold_s: float
    cold_cpu_s: float
    rss_mb: float
    dollars: Decimal
    rerun_s: float
    rerun_whole_s: float
    rerun_billed: int
    bought_twice: int
    same_process_s: float


def prepare(peer: Peer) -> None:
    """Make the peer's environment where there is none."""
    if not peer.needs or peer.python.exists():
        return
    print(f"  making an environment for {peer.name}", flush=True)
    venv.create(peer.python.parents[1], with_pip=True)
    subprocess.run(
        [str(peer.python), "-m", "pip", "install", "--quiet", *peer.needs],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def one_round(job: Job, peer: Peer) -> tuple[Run, Run]:
    """Cold, and again in a new process."""
    with tempfile.TemporaryDirectory(prefix="aigenflow-peer-") as folder:
        return job.run(peer, Path(folder)), job.run(peer, Path(folder))


def once(job: Job, peer: Peer) -> tuple[int, float]:
    """What is bought twice after a kill, and the seconds of a second pass in one process."""
    with tempfile.TemporaryDirectory(prefix="aigenflow-peer-") as folder:
        bought_twice = job.killed_and_run_again(peer, Path(folder))
    with tempfile.TemporaryDirectory(prefix="aigenflow-peer-") as folder:
        (_first, second) = job.run(peer, Path(folder), passes=2).passes
    return bought_twice, second[0]


def measure(job: Job, peers: Sequence[Peer], rounds: int) -> dict[str, Figures]:
    """Every peer in turn, round by round."""
    runs: dict[str, list[tuple[Run, Run]]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        shift = number % len(peers)
        for peer in (*peers[shift:], *peers[:shift]):
            runs[peer.name].append(one_round(job, peer))
    return {peer.name: _figures(runs[peer.name], *once(job, peer)) for peer in peers}


def _figures(runs: Sequence[tuple[Run, Run]], bought_twice: int, again_s: float) -> Figures:
    cold, rerun = [first for first, _ in runs], [second for _, second in runs]
    return Figures(
        whole_s=statistics.median(run.wall_s for run in cold),
        whole_cpu_s=statistics.median(run.cpu_s for run in cold),
        cold_s=statistics.median(run.passes[0][0] for run in cold),
        cold_cpu_s=statistics.median(run.passes[0][1] for run in cold),
        rss_mb=statistics.median(run.rss_mb for run in cold),
        dollars=cold[0].dollars,
        rerun_s=statistics.median(run.passes[0][0] for run in rerun),
        rerun_whole_s=statistics.median(run.wall_s for run in rerun),
        rerun_billed=max(run.billed for run in rerun),
        bought_twice=bought_twice,
        same_process_s=again_s,
    )


def show(figures: Mapping[str, Figures], prompts: int) -> None:
    print(
        f"  {'':<23}{'cold s':>8}{'CPU s':>7}{'whole s':>9}{'CPU s':>7}{'MB':>6}{'dollars':>9}"
        f"{'rerun s':>9}{'whole s':>9}{'billed':>8}{'same process s':>16}{'bought twice':>14}"
    )
    for name, one in figures.items():
        print(
            f"  {name:<23}{one.cold_s:>8.2f}{one.cold_cpu_s:>7.2f}{one.whole_s:>9.2f}"
            f"{one.whole_cpu_s:>7.2f}{one.rss_mb:>6.0f}{one.dollars:>9.4f}"
            f"{one.rerun_s:>9.2f}{one.rerun_whole_s:>9.2f}{one.rerun_billed:>8}"
            f"{one.same_process_s:>16.2f}{one.bought_twice:>14}"
        )
    print("  CPU ms of one call: ", end="")
    print(*(f"{n} {one.cold_cpu_s / prompts * 1e3:.2f}" for n, one in figures.items()), sep=", ")


def judge(figures: Mapping[str, Figures]) -> None:
    """The targets, as far as the peers are there."""
    ours, plain = figures[OURS.name], figures[PLAIN.name]
    note = "whole processes"
    at_most("prompts, cold, of the bare SDK", 1.3, ours.whole_s / plain.whole_s, "x wall", note)
    for peer in (LITELLM, CURATOR):
        if (theirs := figures.get(peer.name)) is not None:
            cpu, memory = ours.whole_cpu_s / theirs.whole_cpu_s, ours.rss_mb / theirs.rss_mb
            at_most(f"prompts, cold, of {peer.name}", 0.5, cpu, "x CPU", note)
            at_most(f"prompts, cold, of {peer.name}", 0.5, memory, "x memory")
    if (curator := figures.get(CURATOR.name)) is not None:
        faster = curator.rerun_whole_s / ours.rerun_whole_s
        at_least("rerun from the cache, than Curator", 10, faster, "x", note)
    at_most("calls bought again in a rerun", 0, ours.rerun_billed, "calls")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds of every answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-ours", action="store_true", help="no environment is made")
    given = parser.parse_args()
    peers = (OURS, PLAIN) if given.only_ours else PEERS
    for peer in peers:
        prepare(peer)
    usage = {"input_tokens": 20, "output_tokens": 100, "reasoning_tokens": 0}
    script = {"defaults": {"latency_s": given.latency, "usage": usage}}
    with (
        tempfile.TemporaryDirectory() as folder,
        WireServerProcess(script, state_dir=Path(folder)) as server,
    ):
        job = Job(server=server, prompts=given.prompts, at_once=given.at_once)
        figures = measure(job, peers, given.rounds)
    print(
        f"\n{given.prompts:,} prompts, answers after {given.latency * 1e3:.0f} ms, "
        f"{given.at_once} at a time, {given.rounds} rounds in turn"
    )
    show(figures, given.prompts)
    judge(figures)


if __name__ == "__main__":
    main()
