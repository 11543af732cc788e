"""Options that several commands share, worded once."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])
Decorator = Callable[[_F], _F]


def output_dir() -> Decorator[Any]:
    """``--output-dir``: where the sessions are."""
    return click.option(
        "--output-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help=_("Folder of the sessions. Default: the setting output_dir (output)."),
    )


def as_json() -> Decorator[Any]:
    """``--json``: for scripts."""
    return click.option("--json", "as_json", is_flag=True, help=_("Print one JSON value."))


def quiet() -> Decorator[Any]:
    """``--quiet``: no progress."""
    return click.option("--quiet", "-q", is_flag=True, help=_("Show no progress, only warnings."))


def trust_base_url() -> Decorator[Any]:
    """``--trust-base-url``: leave for a host."""
    return click.option(
        "--trust-base-url",
        "trusted_hosts",
        metavar="HOST",
        multiple=True,
        help=_("Allow a base URL on this host although it is private or not the provider's."),
    )


def caching() -> Decorator[Any]:
    """``--no-cache`` and ``--refresh``: how a command uses the response cache."""
    no_cache = click.option(
        "--no-cache", is_flag=True, help=_("Neither look answers up nor remember them.")
    )
    refresh = click.option(
        "--refresh", is_flag=True, help=_("Buy every answer anew and remember the new one.")
    )

    def both(function: Callable[..., Any]) -> Callable[..., Any]:
        return no_cache(refresh(function))

    return both


def allow_unpriced() -> Decorator[Any]:
    """``--allow-unpriced``: leave to buy at an unknown price."""
    return click.option(
        "--allow-unpriced",
        is_flag=True,
        help=_("Make calls whose price is not known; budgets do not count them."),
    )


def check_branch(from_phase: int, parent: str) -> None:
    """Raise ``click.UsageError`` for a session whose results nothing would be taken from."""
    if parent and from_phase == 1:
        raise click.UsageError(
            _("--session needs --from-phase: from which phase on is the document written anew?")
        )


def document() -> Decorator[Any]:
    """What kind of document is written, and from which phase on."""
    decorators = (
        click.option(
            "--type",
            "document_type",
            type=click.Choice(["bizplan", "rd"]),
            help=_(
                "Business plan or R&D proposal. Default: what the template is for, else bizplan."
            ),
        ),
        click.option(
            "--template",
            default="default",
            show_default=True,
            help=_("Outline to follow: default, startup, strategy, rd, or one of your own."),
        ),
        click.option(
            "--lang",
            type=click.Choice(["ko", "en"]),
            help=_("Language of the document. Default: that of the topic."),
        ),
        click.option(
            "--brief",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=_(
                "File with what you know already (Markdown or YAML): market, price, team, budget."
            ),
        ),
        click.option(
            "--from-phase",
            type=click.IntRange(1, 5),
            default=1,
            help=_("Start at this phase, with the earlier results of a session on the same topic."),
        ),
        click.option(
            "--session",
            "parent",
            default="",
            help=_("Session to take those results from. Default: the newest on the topic."),
        ),
    )

    def all_of_them(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorate in reversed(decorators):
            function = decorate(function)
        return function

    return all_of_them
