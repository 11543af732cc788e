from __future__ import annotations

import pytest

from aigenflow.cache.backends.memory import MemoryStorage
from tests.contracts.cache_storage_contract import CacheStorageContract, OpenStorage


class TestMemoryStorage(CacheStorageContract):
    """The store in memory keeps the contract within its process."""

    shared_between_openings = False

    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return MemoryStorage
