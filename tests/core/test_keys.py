from __future__ import annotations

import sys
import types

import pytest

from aigenflow.core.keys import find_key


def test_the_environment_comes_first() -> None:
    """White space around a pasted key does not count, and an empty key is none."""
    assert find_key("X_KEY", environ={"X_KEY": " abc\n"}) == "abc"
    assert find_key("X_KEY", environ={"X_KEY": "  "}) is None
    assert find_key("X_KEY", environ={}) is None


def test_the_keyring_is_asked_only_with_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may open a window on the user's screen."""
    keyring = types.ModuleType("keyring")
    asked: list[tuple[str, str]] = []

    def get_password(service: str, name: str) -> str:
        asked.append((service, name))
        return "from the ring"

    keyring.get_password = get_password  # type: ignore[attr-defined]
    keyring.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert find_key("X_KEY", environ={}) is None
    assert asked == []
    assert find_key("X_KEY", environ={}, use_keyring=True) == "from the ring"
    assert asked == [("aigenflow", "X_KEY")]
    assert find_key("X_KEY", environ={"X_KEY": "mine"}, use_keyring=True) == "mine"
