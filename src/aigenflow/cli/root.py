"""The command group. A command's module is imported only when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from gettext import gettext as _
from importlib import import_module
from typing import cast

import click

_COMMANDS: Mapping[str, str] = {
    "run": "aigenflow.cli.run",
    "plan": "aigenflow.cli.plan",
    "resume": "aigenflow.cli.resume",
    "status": "aigenflow.cli.status",
    "export": "aigenflow.cli.export",
    "claims": "aigenflow.cli.claims",
    "quality": "aigenflow.cli.quality",
    "ask": "aigenflow.cli.ask",
    "check": "aigenflow.cli.check",
    "batch": "aigenflow.cli.batch",
    "cache": "aigenflow.cli.cache",
    "stats": "aigenflow.cli.stats",
    "budget": "aigenflow.cli.budget",
    "pricing": "aigenflow.cli.pricing",
    "dashboard": "aigenflow.cli.dashboard",
    "templates": "aigenflow.cli.templates",
    "worker": "aigenflow.cli.worker",
    "submit": "aigenflow.cli.submit",
    "fleet": "aigenflow.cli.fleet",
    "config": "aigenflow.cli.config",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        return cast("click.Command", import_module(module).command) if module else None


def build_cli() -> click.Group:
    """The whole command line, in the language chosen before."""
    return LazyGroup(
        name="aigenflow",
        # Only their names are read, to suggest the nearest one; get_command has the real ones.
        commands={name: click.Command(name) for name in _COMMANDS},
        help=_(
            "Turn a topic into a business plan or an R&D proposal, written by four AI agents in "
            "five phases, at the lowest honest cost."
        ),
        epilog=_(
            "Exit codes: 0 done, 1 a bug, 2 wrong use, 3 over budget, 4 a provider failed, "
            "5 stopped and can be resumed, 6 session folder, 7 a quality gate failed, 8 quality "
            "not verified, 130 interrupted."
        ),
        params=[
            click.Option(
                ["--ui-lang"],
                type=click.Choice(["ko", "en"]),
                help=_("Language of messages. Default: that of the locale."),
            ),
            click.Option(["--debug"], is_flag=True, help=_("Show the traceback of an error.")),
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help=_("Show the version and exit."),
            ),
        ],
        callback=_accept,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _accept(ui_lang: str | None, debug: bool) -> None:
    """Both options are read before the command line is built (see ``main``)."""


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"aigenflow {version('aigenflow')}")
        ctx.exit()
