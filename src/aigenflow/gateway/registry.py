"""Every way of reaching a model, one line each, and the connections of a run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from aigenflow.core.clock import Clock
from aigenflow.core.config import AgentSettings, RetrySettings, Settings
from aigenflow.core.hosts import is_loopback
from aigenflow.core.models import AgentRequest, Backend, GatewayResponse, Route
from aigenflow.gateway.adapters.offline import Composer, OfflineGateway
from aigenflow.gateway.addresses import check_base_url
from aigenflow.gateway.base import Gateway, JobGateway, OnText, Timeouts, ignore_text
from aigenflow.gateway.jobs import ResilientJobs
from aigenflow.gateway.limits import Limiter, Limits
from aigenflow.gateway.retry import Attempt, ResilientGateway, RetryPolicy, ignore_attempt

LOOPBACK_KEY = "local"
"""Sent to a loopback address when no key is set: SDKs insist on one, local servers do not."""

PROBE_S = 0.5

FindKey = Callable[[AgentSettings], str | None]

_Place: TypeAlias = tuple[Backend, str | None, str]
"""Back-end, address and account: one connection each."""
OpenLimiter: TypeAlias = Callable[[str, Limits, float], Limiter]
"""Makes the limiter of one place: its name, what it allows, the longest pause (s) to wait out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adapter:
    """Where an adapter lives, and the hosts its keys are meant for.

    ``jobs`` is the class in the module ``{module}_jobs``, empty for a provider without batch jobs.
    """

    module: str
    name: str
    official_hosts: frozenset[str]
    jobs: str = ""


_ADAPTERS: Mapping[Backend, _Adapter] = {
    Backend.ANTHROPIC: _Adapter(
        module="anthropic",
        name="AnthropicGateway",
        official_hosts=frozenset({"api.anthropic.com"}),
        jobs="AnthropicJobs",
    ),
    Backend.OPENAI: _Adapter(
        module="openai",
        name="OpenAIGateway",
        official_hosts=frozenset({"api.openai.com"}),
        jobs="OpenAIJobs",
    ),
    Backend.GEMINI: _Adapter(
        module="gemini",
        name="GeminiGateway",
        official_hosts=frozenset({"generativelanguage.googleapis.com"}),
        jobs="GeminiJobs",
    ),
    Backend.PERPLEXITY: _Adapter(
        module="perplexity",
        name="PerplexityGateway",
        official_hosts=frozenset({"api.perplexity.ai"}),
    ),
    Backend.COMPATIBLE: _Adapter(
        module="compatible", name="CompatibleGateway", official_hosts=frozenset()
    ),
}


def can_be_reached(settings: AgentSettings, find_key: FindKey) -> bool:
    """Whether an agent's own settings will do: a key, a server of the user's, or the drafter."""
    if settings.backend is Backend.OFFLINE:
        return True
    if settings.base_url is not None and (
        settings.backend is Backend.COMPATIBLE or _on_loopback(settings.base_url)
    ):
        return True
    return settings.backend is not Backend.COMPATIBLE and find_key(settings) is not None


async def is_listening(url: str) -> bool:
    """Whether anything takes connections at ``url``: a look before an SDK is imported for it."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with asyncio.timeout(PROBE_S):
            _reader, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, ValueError):  # TimeoutError is one; a name that no host can have is the other
        return False
    writer.close()
    return True


class Gateways:
    """One connection per way of reaching a model and account, kept for the life of the app.

    ``wrap`` is put around each connection below its retries, so that it sees every attempt;
    ``on_attempt`` hears of each as it ends. ``open_limiter`` keeps the limits where more than
    this process is held to them.
    Addresses are checked before a connection is made: raises
    :class:`~aigenflow.core.errors.AddressError` for one that needs leave.
    """

    def __init__(
        self,
        settings: Settings,
        find_key: FindKey,
        composer: Composer,
        clock: Clock,
        wrap: Callable[[Gateway], Gateway] = lambda gateway: gateway,
        on_attempt: Callable[[Attempt], None] = ignore_attempt,
        open_limiter: OpenLimiter | None = None,
    ) -> None:
        self._settings = settings
        self._find_key = find_key
        self._composer = composer
        self._clock = clock
        self._wrap = wrap
        self._on_attempt = on_attempt
        self._open_limiter = open_limiter
        self._open: dict[_Place, Gateway] = {}
        self._adapters: dict[_Place, Gateway] = {}

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask through the route's connection."""
        return await self.of(route).send(request, route, on_text)

    def of(self, route: Route) -> Gateway:
        """The connection of ``route``."""
        place = self._place(route)
        if place not in self._open:
            self._open[place] = self._connect(route)
        return self._open[place]

    def jobs(self, route: Route) -> JobGateway | None:
        """The provider's batch jobs, through the connection of ``route``; ``None`` without any."""
        about = _ADAPTERS.get(route.backend)
        if about is None or not about.jobs:
            return None
        module = import_module(f"aigenflow.gateway.adapters.{about.module}_jobs")
        connect = cast("Callable[[Gateway, Clock], JobGateway]", getattr(module, about.jobs))
        return ResilientJobs(
            connect(self._adapter(route), self._clock),
            clock=self._clock,
            policy=_policy(self._settings.retry),
        )

    async def aclose(self) -> None:
        """Close every connection, whatever happens to one of them."""
        async with contextlib.AsyncExitStack() as stack:
            for gateway in (*self._adapters.values(), *self._open.values()):
                stack.push_async_callback(gateway.aclose)
            self._open, self._adapters = {}, {}

    def _place(self, route: Route) -> _Place:
        return (
            route.backend,
            route.base_url,
            self._settings.agents.of(route.actor).api_key_env,
        )

    def _connect(self, route: Route) -> Gateway:
        if route.backend is Backend.OFFLINE:
            return OfflineGateway(self._composer)
        agent = self._settings.agents.of(route.actor)
        policy = _policy(self._settings.retry)
        limits = Limits(
            requests_per_minute=agent.requests_per_minute,
            tokens_per_minute=agent.tokens_per_minute,
            concurrency=agent.concurrency,
        )
        return ResilientGateway(
            self._wrap(self._adapter(route)),
            provider=route.backend.value,
            limits=limits,
            limiter=self._shared_limiter(route, limits, policy),
            policy=policy,
            clock=self._clock,
            on_attempt=self._on_attempt,
        )

    def _shared_limiter(self, route: Route, limits: Limits, policy: RetryPolicy) -> Limiter | None:
        if self._open_limiter is None:
            return None
        backend, base_url, account = self._place(route)
        place = " ".join((backend.value, base_url or "", account))
        return self._open_limiter(place, limits, policy.longest_pause_s)

    def _adapter(self, route: Route) -> Gateway:
        """The one client of a place: live calls and batch jobs share it."""
        place = self._place(route)
        if place not in self._adapters:
            self._adapters[place] = self._new_adapter(route)
        return self._adapters[place]

    def _new_adapter(self, route: Route) -> Gateway:
        agent = self._settings.agents.of(route.actor)
        adapter = _ADAPTERS[route.backend]
        key = self._find_key(agent) if agent.backend is route.backend else None
        if route.base_url is not None:
            check_base_url(
                route.base_url,
                official_hosts=adapter.official_hosts,
                trusted_hosts=frozenset(self._settings.network.trusted_hosts),
            )
            if key is None and _on_loopback(route.base_url):
                key = LOOPBACK_KEY
        module = import_module(f"aigenflow.gateway.adapters.{adapter.module}")
        connect = cast("Callable[..., Gateway]", getattr(module, adapter.name))
        return connect(
            api_key=key,
            base_url=route.base_url,
            timeouts=_timeouts(self._settings),
            clock=self._clock,
        )


def _on_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _timeouts(settings: Settings) -> Timeouts:
    limits = settings.timeouts
    return Timeouts(
        connect_s=limits.connect_seconds,
        first_event_s=limits.first_event_seconds,
        idle_s=limits.idle_seconds,
        total_s=limits.total_seconds,
    )


def _policy(retry: RetrySettings) -> RetryPolicy:
    return RetryPolicy(
        attempts=retry.attempts,
        base_s=retry.base_seconds,
        cap_s=retry.cap_seconds,
        longest_retry_after_s=retry.max_retry_after_seconds,
    )
