"""Who plays whom: the four roles, their understudies, and how each is reached in this run.

A role whose key is missing is played by its fallback agent, else by any agent that can be
reached; with none of them, by a local server; and with nothing at all, by the offline drafter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aigenflow.core.config import AgentSettings, AgentsSettings
from aigenflow.core.models import AgentType, Backend, Route

FALLBACK: Mapping[AgentType, AgentType] = {
    AgentType.CHATGPT: AgentType.CLAUDE,
    AgentType.CLAUDE: AgentType.CHATGPT,
    AgentType.GEMINI: AgentType.PERPLEXITY,
    AgentType.PERPLEXITY: AgentType.GEMINI,
}

CONTEXT_WINDOW_TOKENS: Mapping[Backend, int] = {
    Backend.ANTHROPIC: 200_000,
    Backend.OPENAI: 272_000,
    Backend.GEMINI: 1_000_000,
    Backend.PERPLEXITY: 128_000,
    Backend.COMPATIBLE: 32_000,
    Backend.OFFLINE: 10_000_000,
}
"""Input and output together, where the settings name no window of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """An OpenAI-compatible server that answered, and the model it will use."""

    base_url: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The route of every role, and of the understudy that takes over when it is down."""

    routes: Mapping[AgentType, Route]
    fallbacks: Mapping[AgentType, Route]

    @property
    def is_offline(self) -> bool:
        """No role is reached by any model."""
        return all(route.backend is Backend.OFFLINE for route in self.routes.values())

    @property
    def is_mixed(self) -> bool:
        """Some roles are played by a model and some by the offline drafter."""
        offline = [route.backend is Backend.OFFLINE for route in self.routes.values()]
        return any(offline) and not all(offline)

    def for_fallback(self, route: Route) -> Route | None:
        """Who takes over from ``route``; ``None`` where nobody else can be reached."""
        return self.fallbacks.get(route.agent)


def cast_roles(
    settings: AgentsSettings,
    is_reachable: Callable[[AgentSettings], bool],
    local: LocalServer | None = None,
) -> Cast:
    """Decide who plays whom. ``is_reachable`` says whether an agent's own settings will do."""
    ready = {agent for agent in AgentType if is_reachable(settings.of(agent))}
    routes: dict[AgentType, Route] = {}
    fallbacks: dict[AgentType, Route] = {}
    for agent in AgentType:
        actor = _actor(agent, ready)
        if actor is None:
            routes[agent] = _without_key(agent, settings.of(agent), local)
            continue
        routes[agent] = _route(agent, actor, settings.of(actor))
        understudy = _understudy(agent, actor, ready)
        if understudy is not None:
            fallbacks[agent] = _route(agent, understudy, settings.of(understudy))
    return Cast(routes=routes, fallbacks=fallbacks)


def _actor(agent: AgentType, ready: set[AgentType]) -> AgentType | None:
    """The role itself, else its fallback, else the first of the team that can be reached."""
    preferred = (agent, FALLBACK[agent], *AgentType)
    return next((candidate for candidate in preferred if candidate in ready), None)


def _understudy(agent: AgentType, actor: AgentType, ready: set[AgentType]) -> AgentType | None:
    others = ready - {actor}
    preferred = (FALLBACK[agent], FALLBACK[actor])
    return next((candidate for candidate in preferred if candidate in others), None)


def _route(agent: AgentType, actor: AgentType, settings: AgentSettings) -> Route:
    return Route(
        agent=agent,
        actor=actor,
        backend=settings.backend,
        model=settings.model,
        base_url=settings.base_url,
        context_window_tokens=settings.context_window_tokens
        or CONTEXT_WINDOW_TOKENS[settings.backend],
        options=settings.options,
    )


def _without_key(agent: AgentType, settings: AgentSettings, local: LocalServer | None) -> Route:
    if local is None:
        return Route(
            agent=agent,
            actor=agent,
            backend=Backend.OFFLINE,
            model="offline",
            context_window_tokens=CONTEXT_WINDOW_TOKENS[Backend.OFFLINE],
        )
    return Route(
        agent=agent,
        actor=agent,
        backend=Backend.COMPATIBLE,
        model=local.model,
        base_url=local.base_url,
        context_window_tokens=settings.context_window_tokens
        or CONTEXT_WINDOW_TOKENS[Backend.COMPATIBLE],
    )
