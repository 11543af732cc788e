"""One provider behind the fault server, reached as the program reaches it: by its real SDK."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from aigenflow.agents.router import Answer, Router
from aigenflow.agents.routes import Cast
from aigenflow.core.config import (
    AgentSettings,
    AgentsSettings,
    NetworkSettings,
    RetrySettings,
    Settings,
    TimeoutSettings,
)
from aigenflow.core.errors import AigenflowError, GatewayError
from aigenflow.core.models import AgentRequest, AgentType, Backend, GatewayResponse, Json, Route
from aigenflow.gateway.registry import Gateways
from aigenflow.testing.clock import ManualClock
from tests.support.program import Wire

TEXT = "한국의 전기차 충전 시장은 2025년에 12% 성장했다. 👍🏽\n\n다음 단계는 값을 견주는 일이다."
PIECES = 6
"""Text events of a streamed :data:`TEXT`."""

SECRET = "CANARY"
PATIENT = TimeoutSettings(
    connect_seconds=10, first_event_seconds=30, idle_seconds=30, total_seconds=60
)
"""For answers that must come, also on a busy machine."""
HASTY = TimeoutSettings(
    connect_seconds=10, first_event_seconds=0.1, idle_seconds=0.1, total_seconds=5
)
"""For answers that must not come."""
BASE_S = 0.001
CAP_S = 0.01

_AGENTS = {
    Backend.ANTHROPIC: AgentType.CLAUDE,
    Backend.OPENAI: AgentType.CHATGPT,
    Backend.GEMINI: AgentType.GEMINI,
    Backend.PERPLEXITY: AgentType.PERPLEXITY,
    Backend.COMPATIBLE: AgentType.CHATGPT,
}
_MODELS = {
    Backend.ANTHROPIC: "claude-sonnet-5-5",
    Backend.OPENAI: "gpt-6.1-sol",
    Backend.GEMINI: "gemini-3.8-flash",
    Backend.PERPLEXITY: "perplexity/sonar",
    Backend.COMPATIBLE: "local-model",
}
_PATHS = {Backend.ANTHROPIC: "/anthropic", Backend.GEMINI: "/gemini"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One of the ways in which an answer is asked for."""

    backend: Backend
    stream: bool

    def __str__(self) -> str:
        return f"{self.backend.value}-{'stream' if self.stream else 'whole'}"

    @property
    def max_output_tokens(self) -> int:
        """An output limit that makes every adapter stream, or none."""
        return 4096 if self.stream else 512


BACKENDS = tuple(_MODELS)
STREAMS = tuple(Way(backend=backend, stream=True) for backend in BACKENDS)
WHOLES = tuple(Way(backend=backend, stream=False) for backend in BACKENDS)
WAYS = STREAMS + WHOLES

over_ways = pytest.mark.parametrize("way", WAYS, ids=str)
over_streams = pytest.mark.parametrize("way", STREAMS, ids=str)
over_wholes = pytest.mark.parametrize("way", WHOLES, ids=str)


def key_of(backend: Backend) -> str:
    """A key that must be seen nowhere but in its header."""
    return f"sk-{SECRET}-{backend.value}-0123456789abcdef"


class Line:
    """Asks through the whole stack of one way, and says what reached the server.

    ``token`` stands in every prompt and in every rule: a request that another test left behind
    is neither counted nor answered here.
    """

    def __init__(self, wire: Wire, way: Way, token: str) -> None:
        self.wire = wire
        self.way = way
        self.base_url = wire.url + _PATHS.get(way.backend, f"/{way.backend.value}/v1")
        self.timeouts = PATIENT
        self.attempts = 3
        self.trusted_hosts: tuple[str, ...] = ()
        self.clock = ManualClock(datetime.now(UTC), auto_advance=True)
        self._token = token
        self._open: Gateways | None = None

    def plays(self, *actions: Mapping[str, Json]) -> None:
        """Answer the first calls with ``actions``, one each, and every later one with TEXT."""
        self._script(
            [
                {"match": {"contains": self._token, "nth": nth}, "action": dict(action)}
                for nth, action in enumerate(actions, start=1)
            ]
        )

    def always(self, action: Mapping[str, Json]) -> None:
        """Answer every call with ``action``."""
        self._script([{"match": {"contains": self._token}, "action": dict(action)}])

    def _script(self, rules: list[Json]) -> None:
        self.wire.script(defaults={"text": TEXT, "chunks": PIECES}, rules=rules)

    @property
    def route(self) -> Route:
        agent = _AGENTS[self.way.backend]
        return Route(
            agent=agent,
            actor=agent,
            backend=self.way.backend,
            model=_MODELS[self.way.backend],
            base_url=self.base_url,
        )

    @property
    def gateways(self) -> Gateways:
        """The connections, opened at their first use with the settings as they are then."""
        if self._open is None:
            self._open = Gateways(self._settings(), _find_key, _NoDrafter(), self.clock)
        return self._open

    def request(self, *, web_search: bool = False) -> AgentRequest:
        return AgentRequest(
            agent=_AGENTS[self.way.backend],
            phase=2,
            task="research",
            prompt=f"{self._token}: 시장은 얼마나 큰가?",
            system="You are precise.",
            max_output_tokens=self.way.max_output_tokens,
            web_search=web_search,
        )

    async def ask(self, *, web_search: bool = False) -> GatewayResponse:
        """The answer through limits, retries, breaker and adapter."""
        return await self.gateways.send(self.request(web_search=web_search), self.route)

    async def ask_whole(self) -> Answer:
        """The answer through the router, which lets a cut one go on."""
        cast = Cast(routes={self.route.agent: self.route}, fallbacks={})
        return await Router(cast, self.gateways).ask(self.request())

    async def fails(
        self, kind: type[GatewayError], *, through_router: bool = False
    ) -> GatewayError:
        """The error of exactly ``kind`` that asking ends in; it gives no key away."""
        with pytest.raises(GatewayError) as caught:
            await (self.ask_whole() if through_router else self.ask())
        error = caught.value
        assert type(error) is kind, f"{type(error).__name__}: {error}"
        assert error.message
        assert error.hint
        assert error.provider == self.way.backend.value
        assert_no_secret(error)
        return error

    @property
    def requests(self) -> list[dict[str, Json]]:
        """The requests of this test as the server received them, in order."""
        return [entry for entry in self.wire.requests() if self._token in str(entry["body"])]

    @property
    def bill(self) -> list[dict[str, Json]]:
        """What the server charged for the requests of this test."""
        ours = {entry["body_sha256"] for entry in self.requests}
        return [line for line in self.wire.bill() if line["body_sha256"] in ours]

    @property
    def slept_s(self) -> float:
        """Seconds waited between attempts, all together."""
        return sum(self.clock.sleeps)

    async def aclose(self) -> None:
        if self._open is not None:
            await self._open.aclose()
            self._open = None

    def _settings(self) -> Settings:
        agent = AgentSettings(
            backend=self.way.backend,
            model=_MODELS[self.way.backend],
            base_url=self.base_url,
            api_key_env="KEY_OF_THE_TEST",
        )
        return Settings(
            agents=AgentsSettings(**{_AGENTS[self.way.backend].value: agent}),
            timeouts=self.timeouts,
            retry=RetrySettings(attempts=self.attempts, base_seconds=BASE_S, cap_seconds=CAP_S),
            network=NetworkSettings(trusted_hosts=self.trusted_hosts),
        )


def output_limit(body: Mapping[str, Json]) -> int:
    """The output limit that a request asked for, in any provider's words."""
    config = body.get("generationConfig") or {}
    limits = (body.get("max_tokens"), body.get("max_output_tokens"), config.get("maxOutputTokens"))
    return next(int(limit) for limit in limits if limit)


def assert_no_secret(error: BaseException) -> None:
    """Nothing that may be shown or logged of ``error`` holds a key, in any spelling."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    texts = ["".join(shown.format()), repr(error), repr(error.args)]
    link: BaseException | None = error
    while link is not None:
        texts += [repr(link), str(vars(link)), *getattr(link, "__notes__", ())]
        if isinstance(link, AigenflowError):
            texts += [link.message, link.hint]
        link = link.__cause__ or link.__context__
    for text in texts:
        assert not holds_secret(text)


def holds_secret(text: str) -> bool:
    """Whether ``text`` holds a key or its telling part: as it is, in base64 or in a URL."""
    keys = [key_of(backend) for backend in BACKENDS]
    spellings = [SECRET, *(base64.b64encode(key.encode()).decode()[:16] for key in keys)]
    spellings += [quote(key, safe="") for key in keys]
    return any(spelling in text for spelling in spellings)


def _find_key(agent: AgentSettings) -> str:
    return key_of(agent.backend)


class _NoDrafter:
    def compose(self, request: AgentRequest) -> str:
        raise AssertionError("the offline drafter is not asked here")
