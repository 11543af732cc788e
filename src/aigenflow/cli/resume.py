"""``aigenflow resume``: go on where a session stopped."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options

if TYPE_CHECKING:
    from typing import Unpack


@click.command(
    "resume",
    help=_(
        "Go on with a session. What is finished is not asked or paid again; a phase result that "
        "you edited is used, and what follows from it is done anew."
    ),
)
@click.argument("session")
@click.option(
    "--retry-failed", is_flag=True, help=_("Try again a step that failed in five runs in a row.")
)
@options.writing()
def command(session: str, retry_failed: bool, **how: Unpack[options.Writing]) -> None:
    from aigenflow.app import App
    from aigenflow.cli.writing import read_manner, write_session
    from aigenflow.engine.local import LocalSession

    def take(app: App) -> LocalSession:
        taken = app.engine.open(session)
        if retry_failed:
            taken.forgive()
        return taken

    settings, home, manner = read_manner(how)
    write_session(settings, home, take, manner)
