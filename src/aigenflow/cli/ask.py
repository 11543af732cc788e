"""``aigenflow ask``: one request to one agent, through the whole router."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import printable, read_settings, run_async

if TYPE_CHECKING:
    from aigenflow.core.models import AgentRequest


@click.command("ask", help=_("Send one question to one agent and print the answer."))
@click.argument("prompt")
@click.option(
    "--agent",
    type=click.Choice(["claude", "chatgpt", "gemini", "perplexity"]),
    default="claude",
    show_default=True,
    help=_("Who is asked."),
)
@click.option("--system", default="", help=_("Standing instruction."))
@click.option(
    "--max-output-tokens",
    type=click.IntRange(16, 128_000),
    default=4096,
    show_default=True,
    help=_("Longest answer."),
)
@click.option("--web-search", is_flag=True, help=_("Let the agent search the web."))
@options.as_json()
@options.caching()
@options.allow_unpriced()
@options.trust_base_url()
def command(
    prompt: str,
    agent: str,
    system: str,
    max_output_tokens: int,
    web_search: bool,
    as_json: bool,
    no_cache: bool,
    refresh: bool,
    allow_unpriced: bool,
    trusted_hosts: tuple[str, ...],
) -> None:
    from aigenflow.agents.router import Answer
    from aigenflow.app import App

    settings, home = read_settings(trusted_hosts=trusted_hosts, no_cache=no_cache)
    request = build_request(agent, prompt, system, max_output_tokens, web_search)

    async def ask() -> Answer:
        async with App(settings, home=home, refresh=refresh, allow_unpriced=allow_unpriced) as app:
            return await app.ask(request)

    answer = run_async(ask())
    if as_json:
        click.echo(answer.response.model_dump_json(indent=2))
        return
    if answer.fell_back_because:
        note = _("Answered by {actor}: {reason}").format(
            actor=answer.route.actor, reason=answer.fell_back_because
        )
        click.echo(printable(note), err=True)
    click.echo(printable(answer.response.content))
    for n, citation in enumerate(answer.response.citations, start=1):
        click.echo(printable(f"[{n}] {citation.title} {citation.url}"))


def build_request(
    agent: str, prompt: str, system: str, max_output_tokens: int, web_search: bool
) -> AgentRequest:
    """The question that ``aigenflow ask`` sends: phase 0, without context."""
    from aigenflow.core.models import AgentRequest, AgentType

    return AgentRequest(
        agent=AgentType(agent),
        phase=0,
        task="ask",
        prompt=prompt,
        system=system,
        max_output_tokens=max_output_tokens,
        web_search=web_search,
    )
