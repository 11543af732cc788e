from __future__ import annotations

import pytest

from aigenflow.core.language import choose_language


@pytest.mark.parametrize(
    ("arguments", "environ", "language"),
    [
        ([], {}, "en"),
        ([], {"LANG": "ko_KR.UTF-8"}, "ko"),
        ([], {"LANG": "ko_KR.CP949"}, "ko"),
        ([], {"LANG": "tr_TR.UTF-8"}, "en"),
        ([], {"LC_ALL": "C", "LANG": "ko_KR.UTF-8"}, "en"),
        ([], {"LC_MESSAGES": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "ko"),
        ([], {"AIGENFLOW_UI_LANG": "en", "LANG": "ko_KR.UTF-8"}, "en"),
        (["--ui-lang", "ko", "run"], {"AIGENFLOW_UI_LANG": "en"}, "ko"),
        (["--ui-lang=en"], {"LANG": "ko_KR.UTF-8"}, "en"),
        (["--ui-lang"], {}, "en"),
    ],
)
def test_the_strongest_wish_decides(
    arguments: list[str], environ: dict[str, str], language: str
) -> None:
    """Option, then variable, then locale; English unless Korean is asked for."""
    assert choose_language(arguments, environ) == language
