"""The fonts that a PDF is set in, and whether they can show Korean."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from gettext import gettext as _

from aigenflow.core.errors import ConfigError

HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")

KOREAN_FAMILIES = (
    *("Pretendard", "Noto Sans KR", "Noto Sans CJK KR", "Source Han Sans KR", "Source Han Sans K"),
    *("Spoqa Han Sans Neo", "Malgun Gothic", "Apple SD Gothic Neo", "NanumBarunGothic"),
    *("NanumGothic", "NanumSquare", "Noto Serif KR", "Noto Serif CJK KR", "NanumMyeongjo"),
    *("AppleGothic", "Gulim", "Dotum", "Batang", "UnDotum", "Baekmuk Dotum"),
)
"""Families that have every Hangul syllable, the best to read first."""
LATIN_FAMILIES = ("Noto Sans", "Source Sans 3", "Helvetica Neue", "Arial", "Liberation Sans")
MONO_FAMILIES = ("D2Coding", "NanumGothicCoding", "Noto Sans Mono CJK KR", "DejaVu Sans Mono")
_BUILT_IN = "Libertinus Serif"


def korean_family(installed: Collection[str]) -> str | None:
    """The first of :data:`KOREAN_FAMILIES` that is installed."""
    return next((family for family in KOREAN_FAMILIES if family in installed), None)


def text_families(installed: Collection[str], *, needs_hangul: bool) -> Sequence[str]:
    """What a text is set in: the first family, and the others for what it lacks.

    Raises :class:`~aigenflow.core.errors.ConfigError` where Hangul could not be shown.
    """
    korean = korean_family(installed)
    if korean is None and needs_hangul:
        raise ConfigError(
            _("No font with Korean letters is installed, so a PDF would show empty boxes."),
            hint=_(
                "Install one: apt-get install fonts-noto-cjk (or fonts-nanum); on macOS and "
                "Windows, any of: {families}"
            ).format(families=", ".join(KOREAN_FAMILIES[:4])),
        )
    latin = next((family for family in LATIN_FAMILIES if family in installed), None)
    order = (korean, latin) if needs_hangul else (latin, korean)
    return (*(family for family in order if family), _BUILT_IN)
