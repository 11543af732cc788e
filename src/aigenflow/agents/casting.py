"""Who can be reached, and so who plays whom: looked for once, and tried on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from gettext import gettext as _
from typing import TypeAlias

from aigenflow.agents.routes import Cast, LocalServer, cast_roles
from aigenflow.core.config import AgentSettings, Settings
from aigenflow.core.errors import AigenflowError, AuthenticationError, GatewayError
from aigenflow.core.models import AgentType, Backend, Route
from aigenflow.gateway.registry import Gateways, can_be_reached, is_listening

FindKey: TypeAlias = Callable[[AgentSettings], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCheck:
    """Whether one agent can be used. ``problem`` is empty where it can."""

    route: Route
    has_key: bool
    problem: str = ""
    hint: str = ""


class Casting:
    """Casts the roles of one program."""

    def __init__(self, settings: Settings, gateways: Gateways, find_key: FindKey) -> None:
        self._settings = settings
        self._gateways = gateways
        self._find_key = find_key
        self._cast: Cast | None = None
        self._deciding = asyncio.Lock()

    async def cast(self) -> Cast:
        """Who plays whom in this run, decided once; whoever asks meanwhile waits for it."""
        async with self._deciding:
            if self._cast is None:
                self._cast = await self._decide()
            return self._cast

    async def check(self) -> tuple[AgentCheck, ...]:
        """Try every agent's address and key with a call that costs nothing."""
        cast = await self.cast()
        return tuple([await self._check_route(cast.routes[agent]) for agent in AgentType])

    async def _decide(self) -> Cast:
        agents = self._settings.agents
        cast = cast_roles(agents, self._is_reachable)
        if not cast.is_offline or not self._settings.local.discover:
            return cast
        return cast_roles(agents, self._is_reachable, await self._find_local_server())

    def _is_reachable(self, agent: AgentSettings) -> bool:
        return can_be_reached(agent, self._find_key)

    async def _find_local_server(self) -> LocalServer | None:
        """The local server and its model; ``None`` where nothing answers."""
        local = self._settings.local
        if not await is_listening(local.base_url):
            return None
        probe = Route(
            agent=AgentType.CLAUDE,
            actor=AgentType.CLAUDE,
            backend=Backend.COMPATIBLE,
            model="",
            base_url=local.base_url,
        )
        try:
            models = await self._gateways.of(probe).list_models()
        except GatewayError:
            return None
        model = local.model or next(iter(models), None)
        return LocalServer(base_url=local.base_url, model=model) if model else None

    async def _check_route(self, route: Route) -> AgentCheck:
        settings = self._settings.agents.of(route.actor)
        has_key = self._find_key(settings) is not None
        try:
            models = await self._gateways.of(route).list_models()
        except AuthenticationError as error:
            hint = _("The key is read from {variable}: look at its value.").format(
                variable=settings.api_key_env
            )
            return AgentCheck(route=route, has_key=has_key, problem=error.message, hint=hint)
        except AigenflowError as error:
            return AgentCheck(route=route, has_key=has_key, problem=error.message, hint=error.hint)
        if models and route.model not in models and route.backend is not Backend.OFFLINE:
            return AgentCheck(
                route=route,
                has_key=has_key,
                problem=_("The server does not list the model {model}.").format(model=route.model),
                hint=_("Set agents.{agent}.model to one of: {models}").format(
                    agent=route.actor, models=", ".join(models[:8])
                ),
            )
        return AgentCheck(route=route, has_key=has_key)
