"""Where an agent's key comes from. Keys are never logged, shown or stored by this program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec

KEYRING_SERVICE = "aigenflow"


def find_key(
    name: str, *, use_keyring: bool = False, environ: Mapping[str, str] = os.environ
) -> str | None:
    """The key called ``name`` (``ANTHROPIC_API_KEY``): environment first, then the keyring.

    The keyring is asked only where the user switched it on and the ``keyring`` extra is there.
    """
    value = environ.get(name, "").strip()
    if value or not use_keyring or find_spec("keyring") is None:
        return value or None
    import keyring

    return keyring.get_password(KEYRING_SERVICE, name) or None
