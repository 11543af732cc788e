"""The fakes that aigenflow is tested with, shipped for the tests of its users.

Names are imported when they are first used: this package alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aigenflow.testing.process import WireServerProcess as WireServerProcess
    from aigenflow.testing.server import WireServer as WireServer
    from aigenflow.testing.wire_script import WireScript as WireScript

_HOMES = {
    "WireScript": "aigenflow.testing.wire_script",
    "WireServer": "aigenflow.testing.server",
    "WireServerProcess": "aigenflow.testing.process",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
