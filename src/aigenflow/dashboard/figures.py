"""Small drawings inside a page: bars as SVG, because the pages allow no style of their own."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from markupsafe import Markup

_WIDTH, _HEIGHT = 200, 8


def bar(
    percent: Decimal | float, marks: Sequence[int] = (), reserved: Decimal | float = 0
) -> Markup:
    """A bar filled to ``percent``, then ``reserved`` more, both per cent, with ``marks`` across."""
    used = min(100.0, max(0.0, float(percent)))
    more = min(100.0 - used, max(0.0, float(reserved)))
    reached = [mark for mark in sorted(marks) if used >= mark]
    level = "over" if used >= 100 else "high" if len(reached) >= 2 else "fine"
    lines = "".join(
        f'<line x1="{_x(mark)}" x2="{_x(mark)}" y1="0" y2="{_HEIGHT}"/>'
        for mark in marks
        if 0 < mark < 100
    )
    return Markup(  # noqa: S704 (numbers only)
        f'<svg class="bar {level if marks else "plain"}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<rect class="track" width="{_WIDTH}" height="{_HEIGHT}"/>'
        f'<rect class="held" x="{_x(used)}" width="{_x(more)}" height="{_HEIGHT}"/>'
        f'<rect class="used" width="{_x(used)}" height="{_HEIGHT}"/>{lines}</svg>'
    )


def _x(percent: float) -> str:
    return f"{percent * _WIDTH / 100:.2f}"


def share(part: Decimal | float, whole: Decimal | float) -> float:
    """Per cent of ``whole``; 0 where that is nothing."""
    return float(part) * 100 / float(whole) if whole else 0.0
