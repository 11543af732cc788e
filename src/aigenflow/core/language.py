"""The language of messages: Korean or English, decided once at the start of the program.

Messages are translated with :mod:`gettext`, in its default domain, so that the command-line
library's own messages are translated too. A program that uses aigenflow as a library is not
touched: without :func:`speak`, messages are English.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

UiLanguage: TypeAlias = Literal["ko", "en"]

_CATALOGUES = Path(__file__).parent.parent / "locale"
_OPTION = "--ui-lang"


def choose_language(arguments: Sequence[str], environ: Mapping[str, str]) -> UiLanguage:
    """``--ui-lang``, else ``AIGENFLOW_UI_LANG``, else the locale; English where none is Korean."""
    wanted = _option(arguments) or environ.get("AIGENFLOW_UI_LANG")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        wanted = wanted or environ.get(name)
    return "ko" if (wanted or "").lower().startswith("ko") else "en"


def speak(language: UiLanguage) -> None:
    """Use ``language`` for every message from now on."""
    os.environ["LANGUAGE"] = language
    gettext.bindtextdomain("messages", str(_CATALOGUES))


def spoken() -> UiLanguage:
    """The language of messages in force."""
    return "ko" if os.environ.get("LANGUAGE") == "ko" else "en"


def _option(arguments: Sequence[str]) -> str | None:
    for index, argument in enumerate(arguments):
        if argument == _OPTION and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(_OPTION + "="):
            return argument.removeprefix(_OPTION + "=")
    return None
