"""The cache as the settings describe it."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

from aigenflow.cache.codec import key_from_file, key_from_keyring, open_codec
from aigenflow.cache.manager import CacheManager, OnWarning, ignore_warning
from aigenflow.cache.policy import TtlPolicy
from aigenflow.cache.storage import StorageError, open_storage
from aigenflow.core.clock import Clock
from aigenflow.core.config import CacheSettings

_MB = 1024 * 1024
KEY_FILE = "cache.key"


def open_cache(
    settings: CacheSettings,
    home: Path,
    clock: Clock,
    *,
    use_keyring: bool = False,
    on_warning: OnWarning = ignore_warning,
) -> CacheManager:
    """The cache at ``settings.url``. The encryption key, if any, is made at the first use.

    Raises :class:`~aigenflow.core.errors.ConfigError` where the settings cannot be used, and
    :class:`~aigenflow.cache.storage.StorageError` where the store cannot be opened.
    """
    key = None
    if settings.encryption:
        key = key_from_keyring() if use_keyring else key_from_file(home / KEY_FILE)
    return CacheManager(
        open_storage(settings.url, home=home),
        ttl=TtlPolicy(hours=settings.ttl_hours, hours_by_phase=settings.ttl_hours_by_phase),
        max_size_bytes=int(settings.max_size_mb * _MB),
        normalize=settings.normalize,
        codec=open_codec(compress=settings.compression, encryption_key=key),
        clock=clock,
        on_warning=on_warning,
    )


def open_cache_if_possible(
    settings: CacheSettings,
    home: Path,
    clock: Clock,
    *,
    use_keyring: bool = False,
    on_warning: OnWarning = ignore_warning,
) -> CacheManager | None:
    """The cache for a run: one that cannot be opened is a warning, and the run goes on."""
    try:
        return open_cache(settings, home, clock, use_keyring=use_keyring, on_warning=on_warning)
    except (StorageError, OSError) as error:
        on_warning(
            _("The cache cannot be opened, so it is not used: {problem}").format(problem=error)
        )
        return None
