"""One line for each target, in a form that ``report.py`` finds in a script's output again.

target | hit of the response cache | <= 2.5 x floor | 2.9 x | missed | its utime alone is 0.4 x
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MARK = "target | "


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What was wanted and what was measured, as texts; ``note`` says why, or with what."""

    name: str
    wanted: str
    measured: str
    met: bool
    note: str = ""


def show_target(target: Target) -> None:
    """Print the line."""
    verdict = "met" if target.met else "missed"
    fields = (target.name, target.wanted, target.measured, verdict, target.note)
    print(_MARK + " | ".join(fields), flush=True)


def at_most(name: str, bound: float, measured: float, unit: str, note: str = "") -> None:
    """Print the line of a target that is an upper bound."""
    show_target(
        Target(
            name=name,
            wanted=f"at most {bound:g} {unit}",
            measured=f"{measured:.3g} {unit}",
            met=measured <= bound,
            note=note,
        )
    )


def at_least(name: str, bound: float, measured: float, unit: str, note: str = "") -> None:
    """Print the line of a target that is a lower bound."""
    show_target(
        Target(
            name=name,
            wanted=f"at least {bound:g} {unit}",
            measured=f"{measured:.3g} {unit}",
            met=measured >= bound,
            note=note,
        )
    )


def targets_in(output: str) -> Iterator[Target]:
    """The targets in what a script printed."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            name, wanted, measured, verdict, note = line.removeprefix(_MARK).split(" | ", 4)
            yield Target(
                name=name, wanted=wanted, measured=measured, met=verdict == "met", note=note
            )


def without_targets(output: str) -> str:
    """What a script printed beside its targets."""
    lines = (line for line in output.splitlines() if not line.startswith(_MARK))
    return "\n".join(lines).strip("\n")
