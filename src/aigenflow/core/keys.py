"""Where an agent's key comes from. Keys are never logged, shown or stored by this program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

KEYRING_SERVICE = "aigenflow"
_KEY_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|pplx|gsk|xai|hf|nvapi)[-_][\w*.\-…]+"
    r"|\b(?:AIza|ya29\.|AQ\.)[\w*.\-…]+"
    r"|(?<=bearer )\S+"
    r"|(?<=key provided: )\S+",
    re.IGNORECASE,
)


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


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without keys: the given ones (also masked or cut short) and the usual shapes."""
    for secret in secrets:
        if secret:
            # Providers echo a key with its middle starred out, so its beginning is enough.
            text = re.sub(re.escape(secret[:8]) + r"\S*", "***", text)
    return _KEY_SHAPES.sub("***", text)
