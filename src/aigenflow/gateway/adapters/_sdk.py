"""Importing the vendors' libraries: late, once, and out of the way of the garbage collector."""

from __future__ import annotations

import gc
from functools import cache
from importlib import import_module


@cache
def load_sdk(module: str) -> None:
    """Import ``module``, whose objects live as long as the process.

    With an SDK there are 130,000 objects. A full collection, one in a few hundred calls, looked at
    each of them for 0.1 s of CPU, and the import set off many. So there is none meanwhile, and
    what is there at the end (this program's own modules too) is never looked at again. Raises
    ``ImportError``.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        import_module(module)
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
