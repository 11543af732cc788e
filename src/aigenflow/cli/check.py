"""``aigenflow check``: are keys, servers and models usable?"""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import json_text, printable, read_settings, run_async

if TYPE_CHECKING:
    from aigenflow.agents.casting import AgentCheck

EXIT_PROVIDER = 4


@click.command(
    "check", help=_("Try every agent's address, key and model, with calls that cost nothing.")
)
@options.as_json()
@options.trust_base_url()
def command(as_json: bool, trusted_hosts: tuple[str, ...]) -> int:
    from aigenflow.agents.notices import describe_cast
    from aigenflow.app import App

    settings, home = read_settings(trusted_hosts=trusted_hosts, keeps_books=True)

    async def check() -> tuple[tuple[AgentCheck, ...], tuple[str, ...]]:
        async with App(settings, home=home) as app:
            return await app.check(), describe_cast(await app.cast())

    checks, notices = run_async(check())
    if as_json:
        value = {"agents": [_plain(one) for one in checks], "notices": list(notices)}
        click.echo(json_text(value))
    else:
        for one in checks:
            click.echo(printable(_line(one)))
        for notice in notices:
            click.echo(printable(notice))
    return EXIT_PROVIDER if any(one.problem for one in checks) else 0


def _line(one: AgentCheck) -> str:
    route = one.route
    who = route.agent.value
    if route.actor is not route.agent:
        who = _("{agent} (played by {actor})").format(agent=route.agent, actor=route.actor)
    place = f"{route.backend.value} · {route.model}"
    if route.base_url:
        place += f" · {route.base_url}"
    if not one.problem:
        return _("ok       {who}: {place}").format(who=who, place=place)
    lines = [_("problem  {who}: {place}").format(who=who, place=place), f"         {one.problem}"]
    return "\n".join([*lines, f"         {one.hint}"] if one.hint else lines)


def _plain(one: AgentCheck) -> dict[str, object]:
    route = one.route
    return {
        "agent": route.agent.value,
        "played_by": route.actor.value,
        "backend": route.backend.value,
        "model": route.model,
        "base_url": route.base_url,
        "has_key": one.has_key,
        "usable": not one.problem,
        "problem": one.problem or None,
        "hint": one.hint or None,
    }
