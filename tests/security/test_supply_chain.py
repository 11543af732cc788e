"""What is installed is what was pinned, and comes from nowhere else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("run.txt", "dev.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(lock: str) -> list[str]:
    """One text per pinned package, with its hashes and without comments."""
    text = (ROOT / "requirements" / lock).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def pinned(lock: str) -> dict[str, str]:
    return {
        canonicalize_name(name): version
        for name, version in (entry.split(maxsplit=1)[0].split("==", 1) for entry in entries(lock))
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes(lock: str) -> None:
    """One exact version each, and what is downloaded must have been seen when it was chosen."""
    for entry in entries(lock):
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s;]+", entry), entry
        assert HASH.search(entry), entry
    assert len(pinned(lock)) > 40


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_a_source(lock: str) -> None:
    """No index, no address, no local path: the user's own index is asked."""
    assert "://" not in (ROOT / "requirements" / lock).read_text()
    assert not [entry for entry in entries(lock) if entry.lstrip().startswith(("-", ".", "/"))]


def test_the_locks_have_what_the_project_asks_for() -> None:
    """Each direct dependency in a version that fits; both locks agree."""
    run, dev = pinned("run.txt"), pinned("dev.txt")
    assert run.items() <= dev.items()
    for text in PROJECT["project"]["dependencies"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(run[canonicalize_name(wanted.name)]), text
    for extra in PROJECT["project"]["optional-dependencies"].values():
        for wanted in map(Requirement, extra):
            assert wanted.specifier.contains(dev[canonicalize_name(wanted.name)]), wanted


def test_new_releases_wait_a_week() -> None:
    """Releases with malware were found and withdrawn within hours."""
    lock = (ROOT / "Makefile").read_text().partition("\nlock:")[2].partition(".PHONY")[0]
    assert lock.count("pip compile") == lock.count('--exclude-newer "$(COOLDOWN)"') == 2
    assert "\nCOOLDOWN ?= 7 days\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", ["litellm", "diskcache", "dill", "joblib", "cloudpickle"])
def test_what_was_left_out_stays_out(name: str) -> None:
    """Not by way of another package either."""
    assert name not in pinned("run.txt")
