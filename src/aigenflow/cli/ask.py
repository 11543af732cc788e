"""``aigenflow ask``: one request to one agent, through the whole router."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from aigenflow.cli import options
from aigenflow.cli.console import escaped, printable, read_settings, run_async

if TYPE_CHECKING:
    from aigenflow.agents.router import Answer
    from aigenflow.core.config import Settings
    from aigenflow.core.models import AgentRequest


@click.command("ask", help=_("Send one question to one agent and print the answer."))
@click.argument("prompt", type=options.TEXT)
@click.option(
    "--agent",
    type=click.Choice(["claude", "chatgpt", "gemini", "perplexity"]),
    default="claude",
    show_default=True,
    help=_("Who is asked."),
)
@click.option("--system", type=options.TEXT, default="", help=_("Standing instruction."))
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
    if not prompt.strip():
        raise click.UsageError(_("The question is empty."))
    from aigenflow.app import App
    from aigenflow.cli.progress import SilentProgress

    settings, home = read_settings(trusted_hosts=trusted_hosts, no_cache=no_cache, keeps_books=True)
    request = build_request(agent, prompt, system, max_output_tokens, web_search)

    async def ask() -> Answer:
        app = App(
            settings,
            home=home,
            refresh=refresh,
            allow_unpriced=allow_unpriced,
            on_event=SilentProgress(),
        )
        async with app:
            return await app.ask(request)

    answer = run_async(ask())
    if as_json:
        click.echo(escaped(answer.response.model_dump_json(indent=2)))
        return
    note = _who_answered(answer, settings)
    if note:
        click.echo(printable(note), err=True)
    click.echo(printable(answer.response.content))
    for n, citation in enumerate(answer.response.citations, start=1):
        click.echo(printable(f"[{n}] {citation.title} {citation.url}"))


def _who_answered(answer: Answer, settings: Settings) -> str:
    """Said where it is not the agent that was asked, by its own means."""
    from aigenflow.core.models import Backend

    route = answer.route
    if answer.fell_back_because:
        return _("Answered by {actor}: {reason}").format(
            actor=route.actor, reason=answer.fell_back_because
        )
    if route.backend is Backend.OFFLINE:
        return _("Answered by the offline drafter: no AI model can be reached.")
    if route.actor is not route.agent:
        return _("Answered by {actor}: {agent} cannot be reached (no key).").format(
            actor=route.actor, agent=route.agent
        )
    if route.backend is not settings.agents.of(route.agent).backend:
        return _("Answered by {model} at {url}.").format(model=route.model, url=route.base_url)
    return ""


def build_request(
    agent: str, prompt: str, system: str, max_output_tokens: int, web_search: bool
) -> AgentRequest:
    """The question that ``aigenflow ask`` sends: phase 0, without context."""
    from aigenflow.core.models import AgentRequest, AgentType, Language

    return AgentRequest(
        agent=AgentType(agent),
        phase=0,
        task="ask",
        prompt=prompt,
        system=system,
        max_output_tokens=max_output_tokens,
        web_search=web_search,
        language=Language.of(prompt),
    )
