"""What every test gets: a home of its own, no keys, no language but English."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# How long one example takes says more about the machine than about the code.
settings.register_profile("aigenflow", deadline=None)
settings.load_profile("aigenflow")

# A shell that starts the tests in the background has them, and all that they start, ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

KEY_VARIABLES = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "PERPLEXITY_API_KEY")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home directory; nothing of the machine's own settings or keys leaks in."""
    for name in tuple(os.environ):
        if name.startswith("AIGENFLOW_") and not name.startswith("AIGENFLOW_TEST_"):
            monkeypatch.delenv(name)
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("AIGENFLOW_HOME", str(home))
    monkeypatch.setenv("LANGUAGE", "en")
    return home
