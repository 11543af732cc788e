"""Amounts on the screen: exact, never rounded."""

from __future__ import annotations

from decimal import Decimal


def dollars(amount: Decimal, least_decimals: int = 4) -> str:
    """An amount with every digit it has, and at least so many decimals."""
    decimals = max(least_decimals, -int(amount.normalize().as_tuple().exponent))
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.{decimals}f}"


def percent(share: Decimal) -> str:
    """Per cent with one decimal."""
    return f"{share:,.1f} %"


def plain(amount: Decimal) -> str:
    """Dollars for programs: exact, without exponent."""
    return f"{amount:f}"
