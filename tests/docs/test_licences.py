"""The page of licences, from the metadata of what is installed.

`AIGENFLOW_TEST_UPDATE=1 .venv/bin/pytest tests/docs/test_licences.py` writes it anew.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeAlias

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Groups: TypeAlias = Mapping[str, Mapping[str, Distribution]]
"""The packages of the core, under an empty name, and of each extra."""

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "licences.md"
HEADER = """\
# Licences

aigenflow is Apache-2.0. This is what it brings along, with the licence that each package states of
itself. Versions are in `requirements/run.txt`, and with hashes in the bill of materials
(`make sbom`).

Two packages of the extras are under licences that ask something of whoever passes them on:
`psycopg` (LGPL-3.0, extras `postgres` and `fleet`) and the pandoc program inside `pypandoc-binary`
(GPL-2.0 or later, extra `docs`; it runs as a process of its own). Nothing of the kind is installed
without these extras.

| package | licence | comes with |
|---|---|---|
"""
USUAL_NAMES = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
HARMLESS = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "MIT-0", "MIT-CMU"}
    | {"MPL-2.0", "PSF-2.0", "Zlib"}
)
"""Of these, only MPL-2.0 asks for anything: changes to its own files stay open."""


def installed_below(requirements: Iterable[str]) -> dict[str, Distribution]:
    """Every package that ``requirements`` bring along on this machine, by its name."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        found[name] = distribution(wanted.name)
        waiting += _needed(found[name], wanted.extras)
    return found


def _needed(package: Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, package.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def licence(package: Distribution) -> str:
    """What ``package`` says of itself, as an SPDX expression where its words are known."""
    metadata = package.metadata
    if stated := metadata.get("License-Expression"):
        return str(stated)
    classifiers = metadata.get_all("Classifier") or []
    names = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")]
    names = names or [str(metadata.get("License", "not stated")).partition("\n")[0]]
    return " OR ".join(USUAL_NAMES.get(name, name) for name in names)


def dependencies() -> Groups:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: installed_below(requirements) for name, requirements in groups.items()}


@pytest.fixture(scope="module")
def groups() -> Groups:
    try:
        return dependencies()
    except PackageNotFoundError as missing:
        pytest.skip(f"not everything is installed here: {missing}")


def test_the_page_is_what_the_packages_say(
    groups: Groups,
) -> None:
    """Every package of the core and of the extras is listed, once."""
    packages = {name: package for group in groups.values() for name, package in group.items()}
    rows = []
    for name in sorted(packages):
        extras = [extra for extra, group in groups.items() if name in group]
        where = "" if "" in extras else ", ".join(f"extra `{extra}`" for extra in extras)
        rows.append(f"| `{name}` | {licence(packages[name])} | {where} |\n")
    page = HEADER + "".join(rows)
    if os.environ.get("AIGENFLOW_TEST_UPDATE"):
        PAGE.write_text(page)
    assert page == PAGE.read_text(), "run: AIGENFLOW_TEST_UPDATE=1 .venv/bin/pytest tests/docs"


def test_the_core_binds_nobody(groups: Groups) -> None:
    """Whoever installs aigenflow without extras has permissive licences only."""
    for name, package in groups[""].items():
        parts = licence(package).replace(" AND ", " OR ").split(" OR ")
        assert set(parts) <= HARMLESS, (name, licence(package))


def test_what_is_bound_is_named(groups: Groups) -> None:
    """A package of an extra with another licence stands in the text above the table."""
    for group in groups.values():
        for name, package in group.items():
            parts = licence(package).replace(" AND ", " OR ").split(" OR ")
            if not set(parts) <= HARMLESS:
                assert name.removesuffix("-binary") in HEADER, (name, licence(package))
