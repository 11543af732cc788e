"""Changing the user's settings file without touching anything else in it."""

from __future__ import annotations

from gettext import gettext as _
from io import StringIO
from pathlib import Path
from typing import Any

from aigenflow.core.config import full_key, load_settings, make_home, user_file
from aigenflow.core.errors import ConfigError
from aigenflow.core.files import write_durably
from aigenflow.core.yaml import parse_yaml, read_yaml


def set_value(home: Path, name: str, text: str) -> tuple[str, Any]:
    """Set one setting and return its full key and new value.

    ``name`` may be short; ``text`` is read as YAML. Comments and order of the file stay. A wrong
    key or value raises :class:`~aigenflow.core.errors.ConfigError` and leaves the file untouched.
    """
    key = full_key(name)
    value = parse_yaml(text, key)
    _edit(home, key, lambda parent, leaf: parent.__setitem__(leaf, value))
    return key, value


def unset_value(home: Path, name: str) -> str:
    """Take one setting out of the user's file, so that the layer below counts again."""
    key = full_key(name)
    _edit(home, key, lambda parent, leaf: parent.pop(leaf, None))
    return key


def _edit(home: Path, key: str, change: Any) -> None:
    from filelock import FileLock
    from ruamel.yaml import YAML

    make_home(home)
    path = user_file(home)
    with FileLock(home / ".config.lock", mode=0o600):
        document = _load_for_editing(path)
        parent = document
        *groups, leaf = key.split(".")
        for group in groups:
            if not isinstance(parent.get(group), dict):
                parent[group] = {}
            parent = parent[group]
        change(parent, leaf)
        text = StringIO()
        writer = YAML()
        writer.preserve_quotes = True
        writer.dump(document, text)
        load_settings(home, user=parse_yaml(text.getvalue(), str(path)) or {})
        try:
            write_durably(path, text.getvalue().encode())
        except OSError as error:
            problem = error.strerror or error
            raise ConfigError(
                _("{path} cannot be written: {problem}").format(path=path, problem=problem),
                hint=_("Check the disk and the permissions, or move AIGENFLOW_HOME."),
            ) from error


def _load_for_editing(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    if not path.exists():
        return CommentedMap()
    read_yaml(path)
    editor = YAML()
    editor.preserve_quotes = True
    document = editor.load(path.read_text(encoding="utf-8-sig"))
    return CommentedMap() if document is None else document
