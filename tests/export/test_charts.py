"""Charts are drawn the same way every time, as files that show nothing but themselves."""

from __future__ import annotations

import sys
import warnings
from decimal import Decimal

import pytest

from aigenflow.core.charts import Bars, Chart, Columns, Curves, Drawing, Series, Span, Spans, Stairs
from aigenflow.core.errors import ConfigError
from aigenflow.export import charts
from aigenflow.export.charts import draw
from aigenflow.export.figures import find_image

ONE, TWO = (Decimal(3), Decimal("-1.5")), (Decimal(4), Decimal(9))
DRAWINGS: dict[str, Drawing] = {
    "bars": Bars(labels=("TAM(전체)", "SAM"), values=(Decimal(9), Decimal(3)), texts=("9억", "3")),
    "columns": Columns(
        steps=("2027", "2028"), unit="백만원", series=(Series(name="기준", values=ONE),)
    ),
    "curves": Curves(
        steps=("1", "2"),
        unit="USD",
        series=(Series(name="Base", values=ONE), Series(name="Up", values=TWO)),
    ),
    "spans": Spans(
        axis="월",
        rows=(
            Span(label="시제품 제작과 아주 긴 이름의 시험을 모두 마치는 일", start=1, end=3),
            Span(label="Launch $5 {x}_y^2 \\alpha", start=12, end=12, owner="kim"),
        ),
    ),
    "stairs": Stairs(steps=("Start", "Target"), levels=(4, 7), axis="TRL"),
}  # fmt: skip


def a_chart(drawing: Drawing) -> Chart:
    return Chart(name="x", caption="c", source="s", table="t", drawing=drawing)


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_chart_gives_the_same_harmless_files(name: str) -> None:
    """SVG and PNG are byte for byte the same twice, and what the exporters accept."""
    chart = a_chart(DRAWINGS[name])
    files = {f"figures/x.{form}": draw(chart, form) for form in ("svg", "png")}
    assert files == {f"figures/x.{form}": draw(chart, form) for form in ("svg", "png")}
    image = find_image("figures/x.svg", files)
    assert image is not None
    assert image.png is not None
    assert b"<dc:date>" not in files["figures/x.svg"]


def test_letters_that_no_font_has_are_replaced() -> None:
    """An emoji or a control sign in a name neither warns nor breaks the drawing."""
    spans = Spans(axis="m", rows=(Span(label="a\U0001f680b\x07c", start=1, end=2),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw(a_chart(spans), "svg")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="matplotlib") as caught:
        draw(a_chart(DRAWINGS["stairs"]), "svg")
    assert "aigenflow[docs]" in caught.value.hint


def test_without_a_korean_font_only_korean_figures_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes instead of letters are never drawn: the font to install is named."""
    monkeypatch.setattr(charts, "_has_hangul", lambda _font: False)
    charts._pen.cache_clear()
    try:
        with pytest.raises(ConfigError, match="Korean") as caught:
            draw(a_chart(DRAWINGS["bars"]), "svg")
        assert "fonts-nanum" in caught.value.hint
        assert draw(a_chart(DRAWINGS["stairs"]), "svg")
    finally:
        charts._pen.cache_clear()
