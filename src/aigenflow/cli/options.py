"""Options that several commands share, worded once."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, get_args

import click

if TYPE_CHECKING:
    from datetime import datetime

    from aigenflow.core.config import Settings
    from aigenflow.core.models import ProcessingChoice

_F = TypeVar("_F", bound=Callable[..., Any])
Decorator = Callable[[_F], _F]


class _Text(click.ParamType[str]):
    """What people write. Bytes of another encoding, which no store and no provider takes, are not.

    For names of files, which may have any bytes, use ``click.Path``.
    """

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            problem = _("It is not valid Unicode; check the encoding of your terminal (UTF-8).")
            self.fail(problem, param, ctx)
        return text


TEXT = _Text()


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


def formats() -> Decorator[Any]:
    """``--format``: in which formats the document is wanted; ``None`` where not given."""
    return click.option(
        "--format",
        "formats",
        metavar="FORMATS",
        callback=_split_formats,
        help=_(
            "Formats, with commas: md, html, docx, pdf (extra docs), hwpx (extra hwpx, "
            "experimental). Default: the setting output_formats."
        ),
    )


def _split_formats(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    from aigenflow.core.models import FormatName

    if value is None:
        return None
    known = get_args(FormatName)
    names = tuple(name.strip().lower() for name in value.split(","))
    for name in names:
        if name not in known:
            raise click.BadParameter(
                _("{name!r} is none of {known}.").format(name=name[:40], known=", ".join(known))
            )
    return names


def processing() -> Decorator[Any]:
    """``--processing`` and ``--deadline``: how answers are bought, and by when."""
    return _together(
        click.option(
            "--processing",
            type=click.Choice(["live", "flex", "batch", "auto"]),
            help=_(
                "How answers are bought: live; at half the price with flex (minutes) or in batch "
                "jobs (up to a day); or auto, the cheapest way that meets the deadline. Default: "
                "the setting batch.processing, with a deadline auto."
            ),
        ),
        click.option(
            "--deadline",
            metavar="WHEN",
            help=_(
                "When the document is wanted: 09:00 (the next one), 2h, 90m, or a date and time."
            ),
        ),
    )


def read_processing(
    processing: str | None, deadline: str | None, settings: Settings
) -> tuple[ProcessingChoice | None, datetime | None]:
    """What was given, ``None`` where it was not; a deadline alone means auto.

    Raises :class:`~aigenflow.core.errors.InputError`.
    """
    from aigenflow.core.clock import SystemClock
    from aigenflow.core.models import ProcessingChoice
    from aigenflow.monitoring.zones import zone_named
    from aigenflow.pipeline.scheduling import parse_deadline

    choice = ProcessingChoice(processing) if processing else None
    if deadline is None:
        return choice, None
    zone = zone_named(settings.budget.timezone)
    return choice or ProcessingChoice.AUTO, parse_deadline(deadline, SystemClock().now(), zone)


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
    return _together(
        click.option(
            "--no-cache", is_flag=True, help=_("Neither look answers up nor remember them.")
        ),
        click.option(
            "--refresh", is_flag=True, help=_("Buy every answer anew and remember the new one.")
        ),
    )


def allow_unpriced() -> Decorator[Any]:
    """``--allow-unpriced``: leave to buy at an unknown price."""
    return click.option(
        "--allow-unpriced",
        is_flag=True,
        help=_("Make calls whose price is not known; budgets do not count them."),
    )


class Writing(TypedDict):
    """What :func:`writing` adds to a command, as it was given."""

    processing: str | None
    deadline: str | None
    formats: tuple[str, ...] | None
    output_dir: Path | None
    quiet: bool
    as_json: bool
    no_cache: bool
    refresh: bool
    allow_unpriced: bool
    trusted_hosts: tuple[str, ...]


def writing() -> Decorator[Any]:
    """The options of every command that writes documents: see :class:`Writing`."""
    return _together(
        processing(),
        formats(),
        output_dir(),
        quiet(),
        as_json(),
        caching(),
        allow_unpriced(),
        trust_base_url(),
    )


def _together(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Several options as one, in the order in which help lists them."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(decorators):
            function = each(function)
        return function

    return decorate


def check_branch(from_phase: int, parent: str) -> None:
    """Raise ``click.UsageError`` for a session whose results nothing would be taken from."""
    if parent and from_phase == 1:
        raise click.UsageError(
            _("--session needs --from-phase: from which phase on is the document written anew?")
        )


def check_topics(topic: str | None, topics_file: Path | None, from_phase: int, parent: str) -> None:
    """Raise ``click.UsageError`` unless there is one topic, or a file of new documents."""
    if (topic is None) == (topics_file is None):
        raise click.UsageError(_("Give either --topic or --topics."))
    if topics_file is not None and (from_phase > 1 or parent):
        raise click.UsageError(_("--from-phase and --session go with --topic, not with --topics."))
    check_branch(from_phase, parent)


def defaults(
    document_type: str | None, template: str, lang: str | None, brief: Path | None
) -> dict[str, Any]:
    """What stands where an entry of a topics file leaves something open."""
    return {"document_type": document_type, "template": template, "lang": lang, "brief": brief}


def document() -> Decorator[Any]:
    """What kind of document is written, and from which phase on."""
    return _together(
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
            help=_("Outline to follow; `aigenflow templates list` names them."),
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
