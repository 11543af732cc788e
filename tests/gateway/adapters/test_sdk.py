"""Importing the vendors' libraries."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from aigenflow.gateway.adapters._sdk import load_sdk


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """Nothing is remembered, and what was frozen is given back to the collector."""
    load_sdk.cache_clear()
    yield
    load_sdk.cache_clear()
    gc.unfreeze()


def test_a_library_is_imported_and_left_out_of_collections():
    """What is there after the import is not looked at by the garbage collector any more."""
    load_sdk("colorsys")
    assert "colorsys" in sys.modules
    assert gc.get_freeze_count() > 1_000
    assert gc.isenabled()


def test_a_library_is_loaded_once():
    """The second call freezes nothing, so that nothing piles up."""
    load_sdk("colorsys")
    gc.unfreeze()
    load_sdk("colorsys")
    assert gc.get_freeze_count() < 1_000


def test_the_collector_goes_on_where_there_is_no_such_library():
    """A failed import changes nothing, and is tried again."""
    for _attempt in range(2):
        with pytest.raises(ImportError):
            load_sdk("aigenflow_no_such_library")
    assert gc.isenabled()
