"""``aigenflow dashboard``: the program in the browser, on this machine only."""

from __future__ import annotations

from contextlib import ExitStack, closing
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import printable, read_settings, run_async
from aigenflow.cli.fleet import database_option, opened_fleet
from aigenflow.core.errors import ConfigError

if TYPE_CHECKING:
    from aigenflow.dashboard.server import Dashboard


@click.command(
    "dashboard",
    help=_(
        "Open the dashboard in the browser: runs, documents, cost, cache, and a form to start a "
        "run. It listens on this machine only and ends with Ctrl-C."
    ),
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help=_("Port to listen on. Default: any that is free."),
)
@click.option("--no-browser", is_flag=True, help=_("Only print the address."))
@click.option("--fleet", "of_fleet", is_flag=True, help=_("Show and steer the fleet."))
@database_option()
@options.output_dir()
@options.allow_unpriced()
@options.trust_base_url()
def command(
    port: int,
    no_browser: bool,
    of_fleet: bool,
    database: str | None,
    output_dir: Path | None,
    allow_unpriced: bool,
    trusted_hosts: tuple[str, ...],
) -> None:
    from aigenflow.app import App
    from aigenflow.cli.writing import job_hint, resume_hint

    listening = _listening(port)
    settings, home = read_settings(
        output_dir=output_dir, trusted_hosts=trusted_hosts, keeps_books=True
    )
    control = None
    with ExitStack() as stack:
        dashboard = stack.enter_context(closing(listening))
        if of_fleet or database:
            fleet = stack.enter_context(opened_fleet(database, output_dir))
            settings, control = fleet.settings, fleet.control
        click.echo(_("Dashboard: {url}").format(url=dashboard.launch_url))
        click.echo(_("The address lets in whoever has it. Ctrl-C ends the dashboard."), err=True)

        app = App(settings, home=home, allow_unpriced=allow_unpriced, on_event=dashboard.on_event)

        async def serve() -> None:
            async with app:
                await dashboard.serve(app, control=control, open_browser=not no_browser)

        try:
            run_async(serve())
        finally:
            hints = [job_hint(job) for job in app.jobs_left]
            hints += [resume_hint(name, settings.output_dir) for name in dashboard.unfinished]
            for hint in hints:
                click.echo(printable(hint), err=True)


def _listening(port: int) -> Dashboard:
    try:
        from aigenflow.dashboard.server import Dashboard
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ConfigError(
            _("The dashboard needs the package {name}, which is not installed.").format(
                name=error.name
            ),
            hint=_("Install it: pip install 'aigenflow[web]'"),
        ) from error
    return Dashboard.listening(port)
