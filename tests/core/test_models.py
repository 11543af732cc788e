from __future__ import annotations

import unicodedata

import pytest

from aigenflow.core.models import Language


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_korean_is_known_in_every_spelling(form: str) -> None:
    """A name copied from a file on a Mac has its syllables taken apart."""
    assert Language.of(unicodedata.normalize(form, "당뇨 식단 구독 서비스")) is Language.KO
    assert Language.of(unicodedata.normalize(form, "Café")) is Language.EN
