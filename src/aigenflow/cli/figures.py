"""Figures on the screen: amounts exact and never rounded, tables as wide as they need."""

from __future__ import annotations

import sys
from decimal import Decimal
from gettext import gettext as _
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH_OF_A_FILE = 200


def dollars(amount: Decimal, least_decimals: int = 4) -> str:
    """An amount with every digit it has, and at least so many decimals."""
    decimals = max(least_decimals, -int(amount.normalize().as_tuple().exponent))
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.{decimals}f}"


def percent(share: Decimal) -> str:
    """Per cent with one decimal."""
    return _("{share} %").format(share=f"{share:,.1f}")


def plain(amount: Decimal) -> str:
    """Dollars for programs: exact, without exponent."""
    return f"{amount:f}"


def draw(figure: RenderableType) -> None:
    """Print a table or panel; what stands in it is text and never markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    Console(markup=False, highlight=False, emoji=False, width=width).print(figure)
