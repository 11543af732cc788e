"""What the user should know of who answers, and who watches the money. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from gettext import gettext as _

from aigenflow.agents.routes import Cast
from aigenflow.core.config import Settings
from aigenflow.core.models import Backend
from aigenflow.engine.models import StepRecord


def describe_cast(cast: Cast) -> tuple[str, ...]:
    """Sentences for the user on who plays whom, where that is not what they would assume."""
    if cast.is_offline:
        return (
            _(
                "No AI model can be reached, so the offline drafter writes a working draft. "
                "No AI wrote it."
            ),
        )
    by_route: dict[str, list[str]] = {}
    for agent, route in cast.routes.items():
        if route.actor is not agent or route.backend is Backend.OFFLINE:
            name = route.actor.value if route.backend is not Backend.OFFLINE else "offline"
            by_route.setdefault(name, []).append(agent.value)
    notices = [
        _("{actor} plays {roles}, which cannot be reached (no key).").format(
            actor=actor, roles=", ".join(roles)
        )
        for actor, roles in by_route.items()
    ]
    places = {(route.backend, route.model, route.base_url) for route in cast.routes.values()}
    if len(places) == 1:
        _backend, model, url = places.pop()
        if url is not None:
            notices.append(
                _("All roles are played by {model} at {url}.").format(model=model, url=url)
            )
    if cast.is_mixed:
        notices.append(_("Some answers come from the offline drafter, which is not an AI."))
    return tuple(notices)


def unwatched_notice(settings: Settings) -> tuple[str, ...]:
    """Said when budgets are set that nobody watches."""
    budget = settings.budget
    limits = (budget.daily_usd, budget.weekly_usd, budget.monthly_usd, budget.session_usd)
    is_set = any(limit is not None for limit in limits) or bool(budget.phase_usd)
    if settings.features.monitoring_enabled or not is_set:
        return ()
    return (_("Monitoring is switched off, so budgets are off too."),)


def mixing_notices(records: Sequence[StepRecord], cast: Cast) -> tuple[str, ...]:
    """Said when a session goes on with other means than it began with."""
    before = {record.response.backend for record in records}
    now = {route.backend for route in cast.routes.values()}
    if records and (Backend.OFFLINE in before) != (Backend.OFFLINE in now):
        return (
            _(
                "This session's earlier results and its next ones do not come from the same kind "
                "of author: one of them is the offline drafter."
            ),
        )
    last = {record.agent: record for record in records}
    return tuple(
        _("{agent} was played by {before} so far and is played by {now} from here on.").format(
            agent=agent, before=record.response.model, now=cast.routes[agent].model
        )
        for agent, record in last.items()
        if not _is_the_same_model(record.response.model, cast.routes[agent].model)
        and not record.fell_back_because
    )


def _is_the_same_model(answered: str, asked: str) -> bool:
    """Providers answer with the dated name of the model that was asked for, or its short one."""
    short = asked.rpartition("/")[2]
    return not answered or answered.startswith((asked, short))
