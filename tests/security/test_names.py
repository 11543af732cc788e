"""Names that want to be paths, at every door where a name comes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aigenflow.cache.storage import open_storage
from aigenflow.core.clock import SystemClock
from aigenflow.core.errors import AigenflowError
from aigenflow.core.files import is_safe_name
from aigenflow.core.models import DocumentType, Language
from aigenflow.engine.local import LocalEngine
from aigenflow.templates.loader import load_outline
from tests.engine.sessions import a_spec

NAMES = (
    "",
    ".",
    "..",
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "//host/share",
    "a/b",
    "a/../../b",
    "a/",
    "a\\b",
    "..\\x",
    "C:\\x",
    "c:x",
    "file:x",
    "~",
    "~root",
    "$HOME",
    "${HOME}",
    "%TEMP%",
    "`id`",
    "$(id)",
    "a;b",
    "a|b",
    "a b",
    "a\n",
    "a\nb",
    "a\x00",
    "\x00",
    "a\x1b[2J",
    "-a",
    "--help",
    "_a",
    ".hidden",
    "a.b",
    "a%2f..",
    "A",
    "가",
    "é",
    "ａ",
    "a\u202eb",
    "a\u2215b",
    "*",
    "?",
    "con",
    "nul",
    "aux",
    "prn",
    "com1",
    "lpt9",
    "a" * 65,
    "a" * 5000,
)


def open_session(name: str, root: Path) -> object:
    return LocalEngine(root / "output", SystemClock()).open(name)


def read_session(name: str, root: Path) -> object:
    return LocalEngine(root / "output", SystemClock()).read(name)


def start_session(name: str, root: Path) -> object:
    return LocalEngine(root / "output", SystemClock()).create(a_spec(name))


def load_template(name: str, root: Path) -> object:
    return load_outline(DocumentType.BIZPLAN, name, Language.EN, user_dir=root / "templates")


def get_entry(name: str, root: Path) -> object:
    return open_storage("file:", home=root).get(name, 1)


def put_aside(name: str, root: Path) -> object:
    return open_storage("file:", home=root).set_aside(name)


DOORS = (open_session, read_session, start_session, load_template, get_entry, put_aside)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_no_name_is_a_path(tmp_path: Path, door: Callable[[str, Path], object], name: str) -> None:
    """It is refused with a clear error, and no file was made on the way."""
    assert not is_safe_name(name)
    with pytest.raises(AigenflowError):
        door(name, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
