"""``aigenflow pricing``: the prices that costs are worked out with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, printable, read_settings
from aigenflow.cli.figures import dollars, draw, plain

if TYPE_CHECKING:
    from pathlib import Path

    from aigenflow.core.config import Settings
    from aigenflow.monitoring.price_book import PriceBook
    from aigenflow.monitoring.price_sheet import Difference, Offer, Quote, Step
    from aigenflow.monitoring.published import Edition

EXIT_FINDINGS = 1
_COLUMNS = ("input", "cached_input", "cache_write", "output", "search")


@click.group("pricing", help=_("See and refresh the prices that costs are worked out with."))
def command() -> None:
    pass


# show


@command.command("show", help=_("Show what the agents' models cost today, and who says so."))
@options.as_json()
def show(as_json: bool) -> None:
    from aigenflow.core.clock import SystemClock
    from aigenflow.monitoring.opening import open_prices
    from aigenflow.monitoring.price_sheet import quotes

    settings, home = read_settings()
    now = SystemClock().now()
    book = open_prices(home)
    found = quotes(book, settings.agents, now)
    edition = book.published.edition(now.date())
    if as_json:
        value = {
            "agents": [_plain_quote(quote) for quote in found],
            "tables": _plain_tables(book, edition),
        }
        click.echo(json_text(value))
        return
    click.echo(_("US dollars per million tokens; searches per thousand."))
    for quote in found:
        click.echo()
        _print_quote(quote)
    click.echo()
    for line in _tables(book, edition, home, now.date()):
        click.echo(line)


def _plain_quote(quote: Quote) -> dict[str, object]:
    change = quote.change
    return {
        "agent": quote.agent.value,
        "backend": quote.backend.value,
        "model": quote.model,
        "known": bool(quote.offers),
        "source": quote.source.value if quote.source else None,
        "estimate": quote.estimate,
        "page": quote.origin or None,
        "last_change": quote.last_change.isoformat() if quote.last_change else None,
        "offers": [_plain_offer(offer) for offer in quote.offers],
        "next_change": {
            "day": change.day.isoformat(),
            "offers": [_plain_offer(offer) for offer in change.offers],
        }
        if change
        else None,
    }


def _plain_offer(offer: Offer) -> dict[str, object]:
    return {
        "served": offer.mode.value,
        "steps": [
            {
                "above_input_tokens": step.above_input_tokens,
                **{f"{kind}_usd": plain(_short(price)) for kind, price in step.prices.items()},
            }
            for step in offer.steps
        ],
    }


def _plain_tables(book: PriceBook, edition: Edition) -> dict[str, str | None]:
    def iso(day: date | None) -> str | None:
        return day.isoformat() if day else None

    return {
        "user_updated": iso(book.user.updated),
        "shipped_updated": iso(book.shipped.updated),
        "genai_prices_version": edition.package_version,
        "genai_prices_fetched": iso(edition.fetched),
        "genai_prices_newest_change": iso(edition.newest_change),
    }


def _print_quote(quote: Quote) -> None:
    click.echo(printable(f"{quote.agent.value}: {quote.model} ({quote.backend.value})"))
    if quote.source is None:
        click.echo(_("    The price is not known, so calls are refused."))
        return
    page = f"  {quote.origin}" if quote.origin else ""
    since = _("  last change {day}").format(day=quote.last_change) if quote.last_change else ""
    click.echo(printable(f"    {_source_name(quote.source.value)}{page}{since}"))
    if quote.source.value != "rule":
        _print_offers(quote)


def _print_offers(quote: Quote) -> None:
    from rich.padding import Padding
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column(min_width=24, no_wrap=True)
    for heading in (_("input"), _("cached"), _("written"), _("output"), _("search")):
        table.add_column(heading, justify="right", no_wrap=True, min_width=7)
    for cells in _rows(quote.offers):
        table.add_row(*cells)
    if quote.change:
        table.add_row(_("from {day} on (UTC):").format(day=quote.change.day))
        for cells in _rows(quote.change.offers):
            table.add_row(*cells)
    draw(Padding(table, (0, 0, 0, 4), expand=False))


def _rows(offers: Sequence[Offer]) -> Iterator[tuple[str, ...]]:
    for offer in offers:
        for step in offer.steps:
            yield _served(offer, step), *(_cell(step.prices[kind]) for kind in _COLUMNS)


def _served(offer: Offer, step: Step) -> str:
    name = {"live": _("live"), "flex": _("flex"), "batch": _("batch")}[offer.mode.value]
    if not step.above_input_tokens:
        return name
    return _("{served}, input > {tokens}").format(
        served=name, tokens=f"{step.above_input_tokens:,}"
    )


def _cell(price: Decimal) -> str:
    return dollars(_short(price), 2).removeprefix("$")


def _short(price: Decimal) -> Decimal:
    """Without the zeros that scaling leaves behind."""
    return price.normalize() if price else Decimal(0)


def _source_name(source: str) -> str:
    return {
        "rule": _("costs nothing: it runs on this machine"),
        "user": _("your pricing.yaml"),
        "shipped": _("shipped with aigenflow"),
        "exact": _("genai-prices"),
        "fallback": _("an estimate: the agent's usual rate, for a model that nobody lists"),
    }[source]


def _tables(book: PriceBook, edition: Edition, home: Path, today: date) -> Iterator[str]:
    from aigenflow.monitoring.opening import PRICES_FILE
    from aigenflow.monitoring.price_sheet import STALE_AFTER_DAYS

    rows = len(book.user.providers) + len(book.user.models)
    if rows:
        yield _("Your prices: {count} rows in {path}").format(count=rows, path=home / PRICES_FILE)
    newest = edition.fetched.date() if edition.fetched else edition.newest_change
    name = f"genai-prices {edition.package_version}"
    if newest is None:
        yield _("{name}: of unknown age").format(name=name)
        return
    days = (today - newest).days
    told = (
        _("{name}: fetched {day}, {days} days ago")
        if edition.fetched
        else _("{name}: as it was installed; its newest price is of {day}, {days} days ago")
    )
    yield told.format(name=name, day=newest, days=days)
    if days > STALE_AFTER_DAYS:
        yield _("These prices may be out of date. `aigenflow pricing update` fetches new ones.")


# check


@command.command(
    "check",
    help=_(
        "Compare your table and the shipped one with the published prices, without network. Exit "
        "code 1 where calls are billed at another price than the published one."
    ),
)
@options.as_json()
def check(as_json: bool) -> int:
    from aigenflow.core.clock import SystemClock
    from aigenflow.monitoring.opening import open_prices
    from aigenflow.monitoring.price_sheet import differences

    settings, home = read_settings()
    found, unlisted = differences(open_prices(home), settings.agents, SystemClock().now())
    if as_json:
        value = {
            "differences": [_plain_difference(one) for one in found],
            "not_published": list(unlisted),
        }
        click.echo(json_text(value))
    else:
        for line in _findings(found, unlisted):
            click.echo(printable(line))
    return EXIT_FINDINGS if any(one.in_force for one in found) else 0


def _plain_difference(one: Difference) -> dict[str, object]:
    return {
        "table": one.source.value,
        "in_force": one.in_force,
        "row": one.row,
        "model": one.model,
        "kind": one.kind,
        "above_input_tokens": one.above_input_tokens,
        "ours_usd": plain(_short(one.ours)),
        "published_usd": plain(_short(one.published)),
    }


def _findings(found: Sequence[Difference], unlisted: Sequence[str]) -> Iterator[str]:
    in_force = [one for one in found if one.in_force]
    fallback = [one for one in found if not one.in_force]
    if in_force:
        yield _("Calls are billed at these prices, which are not the published ones:")
        yield from map(_difference_line, in_force)
    else:
        yield _("No call is billed at another price than the published one.")
    if unlisted:
        names = ", ".join(dict.fromkeys(unlisted))
        yield _("Not published, so not compared: {models}").format(models=names)
    if fallback:
        yield _("Fallback rates, used only for models that nobody lists:")
        yield from map(_difference_line, fallback)


def _difference_line(one: Difference) -> str:
    above = (
        _(" above {tokens} input tokens").format(tokens=f"{one.above_input_tokens:,}")
        if one.above_input_tokens
        else ""
    )
    return _("    {row}: {kind}{above} {ours}; {model} is published at {published}").format(
        row=one.row,
        kind=_kind_name(one.kind),
        above=above,
        ours=dollars(_short(one.ours), 2),
        model=one.model,
        published=dollars(_short(one.published), 2),
    )


def _kind_name(kind: str) -> str:
    return {
        "input": _("input"),
        "cached_input": _("cached input"),
        "cache_write": _("cache write"),
        "cache_write_1h": _("cache write for an hour"),
        "output": _("output"),
        "reasoning": _("reasoning"),
        "search": _("search"),
        "request": _("request"),
    }[kind]


# update


@command.command(
    "update",
    help=_("Fetch the newest published prices. The only command of its group that goes online."),
)
@options.as_json()
def update(as_json: bool) -> None:
    from aigenflow.core.clock import SystemClock
    from aigenflow.monitoring import published
    from aigenflow.monitoring.opening import open_prices
    from aigenflow.monitoring.price_sheet import quotes

    settings, home = read_settings()
    now = SystemClock().now()
    before = _quotes_before(settings, home, now)
    path = published.save(home, published.fetch(published.SOURCE_URL), now)
    after = quotes(open_prices(home), settings.agents, now)
    changed = [quote for quote in after if quote not in before]
    if as_json:
        value = {"file": str(path), "changed": [_plain_quote(quote) for quote in changed]}
        click.echo(json_text(value))
        return
    click.echo(_("The newest prices are in force: {path}").format(path=path))
    if not changed:
        click.echo(_("Nothing changed for your agents' models."))
    for quote in changed:
        click.echo()
        _print_quote(quote)


def _quotes_before(settings: Settings, home: Path, now: datetime) -> tuple[Quote, ...]:
    from aigenflow.core.errors import ConfigError
    from aigenflow.monitoring.opening import open_prices
    from aigenflow.monitoring.price_sheet import quotes

    try:
        return quotes(open_prices(home), settings.agents, now)
    except ConfigError:  # what was fetched last is damaged, and fetching anew is the remedy
        return ()
