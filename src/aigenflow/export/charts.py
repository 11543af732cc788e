"""Charts drawn as SVG and PNG, with matplotlib (extra ``docs``), imported when first needed.

The same chart gives the same bytes: no dates, no random ids, no global state of pyplot. Letters
are drawn as outlines, so a figure looks the same without the font. Colours are those of Okabe and
Ito, which people with colour blindness can tell apart, on white.
"""

from __future__ import annotations

import io
import textwrap
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from aigenflow.core.charts import Bars, Chart, Columns, Curves, Spans, Stairs
from aigenflow.core.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

Format: TypeAlias = Literal["svg", "png"]

PNG_DPI = 200
_WIDTH_IN, _HEIGHT_IN = 6.3, 3.2
_ROW_IN = 0.34
_PAD_IN = 0.08
_LABEL_SHARE = 0.055  # of the axis: the height of one label
_COLOURS = ("#56B4E9", "#0072B2", "#009E73")
_ONE_COLOUR = ("#0072B2", "#E69F00")
_MARKERS = ("v", "o", "^")
_INK, _GRID = "#222222", "#D9D9D9"
_HANGUL = tuple(map(ord, "가힣한글"))
_FONT_FILES = (
    "notosanscjkkr-regular", "notosanskr-regular", "notosanscjk-regular", "notosanskr",
    "nanumgothic", "nanumbarungothic", "pretendard-regular", "malgun", "applesdgothicneo",
    "applegothic", "unbatang", "undotum",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pen:
    """A font, and the characters it has."""

    font: FontProperties
    letters: frozenset[int]

    def write(self, text: str, width: int = 0) -> str:
        """``text`` in characters that the font has, in lines of about ``width`` letters."""
        known = "".join(
            letter if ord(letter) in self.letters or letter == "\n" else "□"
            for letter in unicodedata.normalize("NFC", text)
        )
        return "\n".join(textwrap.wrap(known, width)[:2]) if width else known

    def sized(self, points: float) -> FontProperties:
        font = self.font.copy()
        font.set_size(points)
        return font


def draw(chart: Chart, form: Format) -> bytes:
    """The chart as an SVG or PNG file.

    Raises :class:`~aigenflow.core.errors.ConfigError` where matplotlib is missing, or a font for
    Korean text.
    """
    _require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=_PAD_IN, h_pad=_PAD_IN)
    pen = _pen(any("가" <= letter <= "힣" for text in chart.texts() for letter in text))
    with rc_context(
        {"svg.hashsalt": "aigenflow", "svg.fonttype": "path", "text.parse_math": False}
    ):
        figure = Figure(figsize=(_WIDTH_IN, _height(chart)), layout=layout)
        figure.set_facecolor("white")
        axes = figure.add_subplot()
        _draw_on(axes, chart, pen)
        return _as_bytes(figure, form)


def _as_bytes(figure: Figure, form: Format) -> bytes:
    data = io.BytesIO()
    if form == "svg":
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    else:
        figure.savefig(data, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return data.getvalue()


def _height(chart: Chart) -> float:
    match chart.drawing:
        case Spans(rows=rows):
            return max(1.6, 0.8 + _ROW_IN * len(rows))
        case Bars(labels=labels):
            return 0.5 + 0.5 * len(labels)
        case _:
            return _HEIGHT_IN


def _draw_on(axes: Axes, chart: Chart, pen: _Pen) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_INK)
    axes.tick_params(colors=_INK, length=3)
    drawing = chart.drawing
    match drawing:
        case Bars():
            _draw_bars(axes, drawing, pen)
        case Columns():
            _draw_columns(axes, drawing, pen)
        case Curves():
            _draw_curves(axes, drawing, pen)
        case Spans():
            _draw_spans(axes, drawing, pen)
        case Stairs():
            _draw_stairs(axes, drawing, pen)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(pen.sized(8.5))


def _draw_bars(axes: Axes, drawing: Bars, pen: _Pen) -> None:
    values = [float(value) for value in drawing.values]
    places = range(len(values))
    axes.barh(places, values, color=_COLOURS[1], height=0.6)
    axes.set_yticks(places, [pen.write(label, 22) for label in drawing.labels])
    axes.invert_yaxis()
    widest = max(values, default=1) or 1
    inside = 0.6 * widest
    for place, value, text in zip(places, values, drawing.texts, strict=True):
        is_long = value > inside
        axes.text(
            value - 0.015 * widest if is_long else value + 0.015 * widest,
            place,
            pen.write(text),
            va="center",
            ha="right" if is_long else "left",
            color="white" if is_long else _INK,
            fontproperties=pen.sized(9),
        )
    axes.set_xlim(0, widest * 1.02)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _draw_columns(axes: Axes, drawing: Columns, pen: _Pen) -> None:
    count = len(drawing.series)
    width = 0.8 / count
    size = 7.5 if count * len(drawing.steps) <= 12 else 6
    colours = _COLOURS if count > 2 else _ONE_COLOUR
    for n, series in enumerate(drawing.series):
        places = [step + (n - (count - 1) / 2) * width for step in range(len(drawing.steps))]
        bars = axes.bar(
            places,
            [float(value) for value in series.values],
            width * 0.92,
            label=pen.write(series.name),
            color=colours[n % len(colours)],
        )
        texts = [f"{value:,f}" for value in series.values]
        axes.bar_label(bars, labels=texts, padding=2, fontproperties=pen.sized(size), color=_INK)
    axes.set_xticks(range(len(drawing.steps)), [pen.write(step) for step in drawing.steps])
    axes.margins(y=0.12)
    if any(value < 0 for series in drawing.series for value in series.values):
        axes.axhline(0, color=_INK, linewidth=0.8)
    _value_axis(axes, drawing.unit, pen)
    _legend(axes, count, pen)


def _draw_curves(axes: Axes, drawing: Curves, pen: _Pen) -> None:
    count = len(drawing.series)
    colours = _COLOURS if count > 2 else _ONE_COLOUR
    places = range(len(drawing.steps))
    for n, series in enumerate(drawing.series):
        values = [float(value) for value in series.values]
        axes.plot(
            places,
            values,
            label=pen.write(series.name),
            color=colours[n % len(colours)],
            marker=_MARKERS[n % len(_MARKERS)],
            linewidth=2,
        )
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_xticks(places, [pen.write(step) for step in drawing.steps])
    axes.margins(x=0.12, y=0.12)
    _end_labels(axes, drawing, pen)
    _value_axis(axes, drawing.unit, pen)
    _legend(axes, count, pen)


def _end_labels(axes: Axes, drawing: Curves, pen: _Pen) -> None:
    """The last value of each line, at its end, far enough apart to be read."""
    low, high = axes.get_ylim()
    last = sorted(series.values[-1] for series in drawing.series)
    floor = float("-inf")
    for value in last:
        floor = max(float(value), floor)
        axes.annotate(
            f"{value:,f}",
            (len(drawing.steps) - 1, floor),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontproperties=pen.sized(8),
            color=_INK,
        )
        floor += _LABEL_SHARE * (high - low)


def _value_axis(axes: Axes, unit: str, pen: _Pen) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.10g}"))
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    axes.set_ylabel(pen.write(unit), fontproperties=pen.sized(8.5), color=_INK)


def _legend(axes: Axes, count: int, pen: _Pen) -> None:
    if count > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=count,
            frameon=False,
            prop=pen.sized(8.5),
            borderaxespad=0.2,
        )


def _draw_spans(axes: Axes, drawing: Spans, pen: _Pen) -> None:
    from matplotlib.ticker import MaxNLocator

    last = max(row.end for row in drawing.rows)
    for place, row in enumerate(drawing.rows):
        length = row.end - row.start + 1
        axes.barh(place, length, left=row.start - 0.5, height=0.55, color=_COLOURS[1])
        if row.owner:
            fits_right = row.end < 0.72 * last
            axes.text(
                row.end + 0.5 + 0.01 * last if fits_right else row.start - 0.5 - 0.01 * last,
                place,
                pen.write(row.owner, 26),
                va="center",
                ha="left" if fits_right else "right",
                fontproperties=pen.sized(7.5),
                color=_INK,
            )
    axes.set_yticks(range(len(drawing.rows)), [pen.write(row.label, 30) for row in drawing.rows])
    axes.invert_yaxis()
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=13, min_n_ticks=1))
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=_GRID, linewidth=0.7)
    axes.set_xlabel(pen.write(drawing.axis), fontproperties=pen.sized(8.5), color=_INK)


def _draw_stairs(axes: Axes, drawing: Stairs, pen: _Pen) -> None:
    places = range(len(drawing.steps))
    axes.plot(
        places, drawing.levels, color=_COLOURS[1], marker="o", markersize=8, linewidth=2,
        drawstyle="steps-post",
    )  # fmt: skip
    for place, level in zip(places, drawing.levels, strict=True):
        axes.annotate(
            str(level),
            (place, level),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontproperties=pen.sized(10),
            color=_INK,
        )
    axes.set_xticks(places, [pen.write(step) for step in drawing.steps])
    axes.set_ylim(0.5, 9.9)
    axes.set_yticks(range(1, 10))
    axes.margins(x=0.08)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=_GRID, linewidth=0.7)
    axes.set_ylabel(pen.write(drawing.axis), fontproperties=pen.sized(8.5), color=_INK)


# ---- matplotlib and its fonts ------------------------------------------------------------------


def _require_matplotlib() -> None:
    try:
        import matplotlib as _matplotlib  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise ConfigError(
            _("Figures need matplotlib, which is not installed."),
            hint=_("Install it with: pip install 'aigenflow[docs]'"),
        ) from error


@lru_cache(maxsize=2)
def _pen(needs_hangul: bool) -> _Pen:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    path = _find_hangul_font() if needs_hangul else findfont(FontProperties(family="DejaVu Sans"))
    return _Pen(FontProperties(fname=path), frozenset(get_font(path).get_charmap()))


def _find_hangul_font() -> str:
    """A system font that has Hangul: a known one first, else any.

    Raises :class:`~aigenflow.core.errors.ConfigError` where there is none.
    """
    from matplotlib.font_manager import findSystemFonts

    fonts = sorted(findSystemFonts(), key=_preference)
    found = next((font for font in fonts if _has_hangul(font)), None)
    if found is None:
        raise ConfigError(
            _("No font on this machine has Korean letters, so Korean figures cannot be drawn."),
            hint=_("Install one, for example: apt-get install fonts-nanum"),
        )
    return found


def _preference(font: str) -> tuple[int, str]:
    stem = Path(font).stem.lower()
    return (_FONT_FILES.index(stem) if stem in _FONT_FILES else len(_FONT_FILES), font)


def _has_hangul(font: str) -> bool:
    from matplotlib.ft2font import FT2Font

    try:
        letters = FT2Font(font).get_charmap()
    except (RuntimeError, OSError):  # not a font that FreeType can read
        return False
    return all(letter in letters for letter in _HANGUL)
