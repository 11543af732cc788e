from __future__ import annotations

import subprocess
import sys

import aigenflow
import aigenflow.testing


def test_the_public_names_are_these() -> None:
    """A name that is added or lost is a decision, not an accident."""
    assert sorted(aigenflow.__all__) == [
        "AgentRequest",
        "AgentType",
        "AigenflowError",
        "App",
        "Assignment",
        "Citation",
        "ContextDocument",
        "DocumentType",
        "GatewayResponse",
        "Language",
        "Settings",
        "home_directory",
        "load_settings",
    ]
    for name in aigenflow.__all__:
        assert getattr(aigenflow, name).__name__ == name


def test_the_shipped_fakes_are_all_there() -> None:
    """Every promised name of aigenflow.testing can be imported."""
    for name in aigenflow.testing.__all__:
        assert getattr(aigenflow.testing, name) is not None


def test_importing_the_package_imports_nothing_heavy() -> None:
    """A program that needs one name does not pay for all."""
    code = (
        "import sys, aigenflow; print(sorted({'pydantic', 'openai', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    assert not hasattr(aigenflow, "NoSuchName")
