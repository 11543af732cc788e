"""``aigenflow cache``: see and tend the response cache."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from gettext import gettext as _
from typing import TYPE_CHECKING, Any

import click

from aigenflow.cli import options
from aigenflow.cli.console import ask_leave, json_text, printable, read_settings

if TYPE_CHECKING:
    from aigenflow.cache.manager import CacheManager
    from aigenflow.cache.models import CacheStats, EntryFilter, EntryMeta, Explanation, Listed

EXIT_FINDINGS = 1
_AGE = re.compile(r"(\d{1,5})\s*([mhdw])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.group("cache", help=_("See and tend the response cache."))
def command() -> None:
    pass


@contextmanager
def _cache() -> Iterator[CacheManager]:
    from aigenflow.cache.opening import open_cache
    from aigenflow.cache.storage import StorageError
    from aigenflow.core.clock import SystemClock
    from aigenflow.core.errors import ConfigError

    settings, home = read_settings()
    try:
        manager = open_cache(settings.cache, home, SystemClock(), use_keyring=settings.use_keyring)
    except (StorageError, OSError) as error:
        raise ConfigError(
            _("The cache cannot be opened: {problem}").format(problem=error),
            hint=_("Check the setting cache.url."),
        ) from error
    try:
        yield manager
    finally:
        manager.close()


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        click.option(
            "--provider", type=options.TEXT, help=_("Only answers of this agent or back-end.")
        ),
        click.option("--phase", type=click.IntRange(0, 5), help=_("Only answers of this phase.")),
        click.option(
            "--session", type=options.TEXT, help=_("Only answers that this session bought.")
        ),
        click.option("--expired", is_flag=True, help=_("Only answers past their time to live.")),
    ):
        function = decorate(function)
    return function


def _filter(
    provider: str | None,
    phase: int | None,
    session: str | None,
    expired: bool,
    older_than: timedelta | None = None,
) -> EntryFilter:
    from aigenflow.cache.models import EntryFilter

    return EntryFilter(
        provider=provider,
        phase=phase,
        session=session,
        expired=True if expired else None,
        older_than=older_than,
    )


@command.command("stats", help=_("Show how full the cache is and how often it answers."))
@options.as_json()
def stats(as_json: bool) -> None:
    with _cache() as cache:
        figures = cache.stats()
    if as_json:
        import dataclasses

        click.echo(json_text(dataclasses.asdict(figures)))
        return
    _print_panel(figures)


def _print_panel(figures: CacheStats) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table

    rows = (
        (_("Total Entries"), f"{figures.total_entries:,}"),
        (
            _("Cache Size"),
            f"{_megabytes(figures.size_bytes)} / {_megabytes(figures.max_size_bytes)}",
        ),
        (_("Hit Rate"), f"{figures.hit_rate:.1%}"),
        (_("Miss Rate"), f"{figures.miss_rate:.1%}"),
        (_("Evictions"), f"{figures.evictions:,}"),
        (_("Avg Hit Latency"), f"{figures.average_hit_latency_ms:.3f} ms"),
    )
    table = Table.grid(padding=(0, 3))
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(Panel(table, title=_("Cache Statistics"), expand=False))


@command.command("list", help=_("List remembered answers, newest first."))
@_filters
@click.option(
    "--sort",
    type=click.Choice(["created", "size", "cost"]),
    default="created",
    show_default=True,
    help=_("Newest, largest or dearest first."),
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@options.as_json()
def list_entries(
    provider: str | None,
    phase: int | None,
    session: str | None,
    expired: bool,
    sort: Any,
    limit: int,
    as_json: bool,
) -> None:
    with _cache() as cache:
        rows = cache.list(_filter(provider, phase, session, expired), sort=sort, limit=limit)
    if as_json:
        click.echo(json_text([_plain(row) for row in rows]))
    elif not rows:
        click.echo(_("No such entries."))
    else:
        for row in rows:
            click.echo(printable(_line(row)))


def _plain(row: Listed) -> dict[str, Any]:
    return {
        **row.meta.model_dump(mode="json"),
        "size_bytes": row.size_bytes,
        "expired": row.expired,
    }


def _line(row: Listed) -> str:
    meta = row.meta
    late = _("  expired") if row.expired else ""
    tokens = meta.input_tokens + meta.output_tokens
    return (
        f"{meta.key}  {meta.created.astimezone():%Y-%m-%d %H:%M}  {meta.actor:10}  "
        f"{meta.phase}.{meta.task:18} {tokens:8,} tok  {row.size_bytes / 1024:8.1f} KB  "
        f"{meta.model}{late}"
    )


@command.command("show", help=_("Print one remembered answer and what it answers."))
@click.argument("key")
@options.as_json()
def show(key: str, as_json: bool) -> None:
    with _cache() as cache:
        entry = cache.show(key)
    if entry is None:
        raise _not_found(key)
    if as_json:
        value = {
            "meta": entry.meta.model_dump(mode="json"),
            "ingredients": {name: part.display for name, part in entry.parts.items()},
            "response": entry.response.model_dump(mode="json"),
        }
        click.echo(json_text(value))
        return
    for label, text in _description(entry.meta):
        click.echo(printable(f"{label}: {text}"))
    for name, part in entry.parts.items():
        click.echo(printable(f"  {name} = {part.display}"))
    click.echo()
    click.echo(printable(entry.response.content))


def _description(meta: EntryMeta) -> Iterator[tuple[str, str]]:
    yield _("Key"), meta.key
    yield _("Answered by"), f"{meta.actor} ({meta.provider}, {meta.model})"
    yield _("Task"), f"{meta.phase}.{meta.task}"
    yield _("Bought by session"), meta.session or "-"
    yield _("Created"), f"{meta.created.astimezone():%Y-%m-%d %H:%M:%S}"
    yield _("Tokens"), f"{meta.input_tokens:,} + {meta.output_tokens:,}"


@command.command("clear", help=_("Forget answers: all of them, or those that fit."))
@_filters
@click.option(
    "--older-than", metavar=_("AGE"), help=_("Only answers older than this: 30m, 12h, 7d, 2w.")
)
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
def clear(
    provider: str | None,
    phase: int | None,
    session: str | None,
    expired: bool,
    older_than: str | None,
    yes: bool,
) -> None:
    wanted = _filter(provider, phase, session, expired, _age(older_than))
    with _cache() as cache:
        if not yes:
            ask_leave(_("Forget these answers? They cannot be brought back."))
        count = cache.clear(wanted)
    click.echo(_("{count} entries removed.").format(count=count))


def _age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = _AGE.match(text.strip())
    if match is None:
        raise click.BadParameter(
            _("{text} is not an age like 30m, 12h, 7d or 2w.").format(text=repr(text))
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@command.command("invalidate", help=_("Forget one answer."))
@click.argument("key")
def invalidate(key: str) -> None:
    with _cache() as cache:
        removed = cache.invalidate(key)
    if not removed:
        raise _not_found(key)
    click.echo(_("{count} entries removed.").format(count=1))


@command.command("doctor", help=_("Look for damage; with --fix, put it right."))
@click.option("--fix", is_flag=True, help=_("Set damaged entries aside and rebuild the index."))
@options.as_json()
def doctor(fix: bool, as_json: bool) -> int:
    with _cache() as cache:
        findings = cache.doctor(fix=fix)
    if as_json:
        plain = [{"problem": f.problem, "key": f.key, "fixed": f.fixed} for f in findings]
        click.echo(json_text(plain))
    else:
        for finding in findings:
            done = _("fixed") if finding.fixed else _("found")
            click.echo(printable(f"{done}: {finding.key} {finding.problem}"))
        if not findings:
            click.echo(_("Nothing is wrong with the cache."))
    return EXIT_FINDINGS if any(not finding.fixed for finding in findings) else 0


@command.command(
    "why",
    help=_(
        "Say which ingredient makes a question differ from the nearest remembered one. Without a "
        "key, the question is that of `aigenflow ask PROMPT`."
    ),
)
@click.argument("key", required=False)
@click.option("--prompt", type=options.TEXT, help=_("A question as given to `aigenflow ask`."))
@click.option(
    "--agent",
    type=click.Choice(["claude", "chatgpt", "gemini", "perplexity"]),
    default="claude",
    show_default=True,
)
@click.option("--system", type=options.TEXT, default="")
@click.option(
    "--max-output-tokens", type=click.IntRange(16, 128_000), default=4096, show_default=True
)
@click.option("--web-search", is_flag=True)
def why(
    key: str | None,
    prompt: str | None,
    agent: str,
    system: str,
    max_output_tokens: int,
    web_search: bool,
) -> None:
    if (key is None) == (prompt is None):
        raise click.UsageError(_("Give either a key or --prompt."))
    if key is not None:
        with _cache() as cache:
            explanation = cache.why(key)
        if not explanation.found:
            raise _not_found(key)
    else:
        from aigenflow.app import App
        from aigenflow.cli.ask import build_request
        from aigenflow.cli.console import run_async

        settings, home = read_settings(keeps_books=True)
        request = build_request(agent, prompt or "", system, max_output_tokens, web_search)

        async def explain() -> Explanation:
            async with App(settings, home=home) as app:
                return await app.why(request)

        explanation = run_async(explain())
    _print_explanation(explanation, asked=key is None)


def _print_explanation(explanation: Explanation, *, asked: bool) -> None:
    click.echo(_("Key: {key}").format(key=explanation.key))
    if asked and explanation.found:
        click.echo(_("expired: it would be bought again") if explanation.expired else _("a hit"))
        return
    if asked:
        click.echo(_("a miss"))
    if explanation.nearest is None:
        click.echo(_("There is no other entry to compare it with."))
        return
    click.echo(_("Nearest entry: {key}").format(key=explanation.nearest.key))
    if not explanation.differences:
        click.echo(_("It differs in the prompt only."))
    for difference in explanation.differences:
        click.echo(
            printable(
                f"  {difference.name}: {difference.before or '-'} -> {difference.after or '-'}"
                f"\n      {difference.reason}"
            )
        )


def _not_found(key: str) -> Exception:
    from aigenflow.core.errors import InputError

    return InputError(
        _("There is no entry {key} in the cache.").format(key=printable(key)),
        hint=_("`aigenflow cache list` shows the keys."),
    )


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:,.1f} MB"
