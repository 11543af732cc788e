"""What the three adapters on the OpenAI SDK have in common: one client, one way to send."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from gettext import gettext as _
from typing import TYPE_CHECKING, ClassVar

from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.errors import GatewayError, RejectedError
from aigenflow.core.models import AgentRequest, Backend, GatewayResponse, Json, Route
from aigenflow.gateway.adapters._answers import stamped
from aigenflow.gateway.adapters._faults import (
    Translation,
    checked_key,
    malformed,
    may_use_proxy,
    no_capacity,
    refuses_tier,
    translated,
)
from aigenflow.gateway.adapters._openai_errors import fault_table, status_error
from aigenflow.gateway.adapters._wire import as_dicts, as_text, is_storable
from aigenflow.gateway.base import OnText, Timeouts, ignore_text
from aigenflow.gateway.deadlines import for_flex, plain_limit, should_stream, watched, within

if TYPE_CHECKING:
    from openai import AsyncOpenAI, Timeout
    from openai._types import RequestOptions


FLEX = "flex"
"""The service tier that is slow and costs half."""


class OpenAISdkGateway(ABC):
    """A :class:`~aigenflow.gateway.base.Gateway` on the OpenAI SDK, retries and redirects off.

    The SDK is imported and its client opened at the first call, in the event loop of that call;
    the client lives until :meth:`aclose`. ``base_url`` is trusted here: whoever builds the
    adapter has checked it.
    """

    backend: ClassVar[Backend]
    default_base_url: ClassVar[str]
    path: ClassVar[str]
    key_optional: ClassVar[bool] = False
    extra_when_streaming: ClassVar[dict[str, Json]] = {}

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
    ) -> None:
        self._api_key = (api_key or "").strip()
        self._base_url = base_url or self.default_base_url
        self._timeouts = timeouts
        self._clock = clock
        self._client: AsyncOpenAI | None = None
        self._options: RequestOptions = {}

    @staticmethod
    @abstractmethod
    def build(request: AgentRequest, route: Route) -> dict[str, Json]:
        """The body of the request."""

    @staticmethod
    @abstractmethod
    def read(raw: dict[str, Json]) -> GatewayResponse:
        """The answer in normal form."""

    @abstractmethod
    async def collect(
        self, events: AsyncIterator[dict[str, Json]], on_text: OnText
    ) -> dict[str, Json]:
        """The final JSON of a streamed answer; raises where the stream ends before it."""

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask once; see :meth:`aigenflow.gateway.base.Gateway.send`."""
        self._open()  # before any clock runs: the SDK's first import takes a second
        started = self._clock.monotonic()
        body = self.build(request, route)
        flex = body.get("service_tier") == FLEX
        limits = for_flex(self._timeouts) if flex else self._timeouts
        try:
            if should_stream(request):
                raw = await self._streamed(body, limits, on_text)
            else:
                raw = await self._plain(body, limits)
        except RejectedError as error:
            if flex and refuses_tier(error):
                raise no_capacity(error) from None
            raise
        if not is_storable(raw):
            raise malformed(self.backend, _("it holds broken characters or numbers"))
        latency = self._clock.monotonic() - started
        return stamped(self.read(raw), request, latency_s=latency)

    async def list_models(self) -> tuple[str, ...]:
        """Names of the models the key may use; raises a ``GatewayError``."""
        client = self._open()
        with self._translated():
            page = await within(
                client.get("/models", cast_to=object, options=self._options),
                plain_limit(self._timeouts),
                provider=self.backend,
            )
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise malformed(self.backend, _("it is no list of models"))
        names = (as_text(model.get("id")) for model in as_dicts(page["data"]))
        return tuple(name for name in names if name)

    async def exchange(self, method: str, path: str, body: Json = None) -> dict[str, Json]:
        """Send one request of any kind and read the JSON object that answers it."""
        client = self._open()
        options = self._options
        with self._translated():
            if method == "GET":
                call = client.get(path, cast_to=object, options=options)
            elif method == "DELETE":
                call = client.delete(path, cast_to=object, options=options)
            else:
                call = client.post(path, cast_to=object, body=body, options=options)
            raw = await within(call, plain_limit(self._timeouts), provider=self.backend)
        if not isinstance(raw, dict):
            raise malformed(self.backend, _("it is not a JSON object"))
        return raw

    def download(self, path: str) -> AsyncGenerator[bytes, None]:
        """The body of an answer, piece by piece."""
        self._open()
        return watched(self._pieces(path), self._timeouts, provider=self.backend)

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _plain(self, body: dict[str, Json], limits: Timeouts) -> dict[str, Json]:
        client = self._open()
        options = self._options_within(limits)
        with self._translated():
            raw = await within(
                client.post(self.path, cast_to=object, body=body, options=options),
                plain_limit(limits),
                provider=self.backend,
            )
        if not isinstance(raw, dict):
            raise malformed(self.backend, _("it is not a JSON object"))
        return raw

    async def _streamed(
        self, body: dict[str, Json], limits: Timeouts, on_text: OnText
    ) -> dict[str, Json]:
        events = watched(self._events(body, limits), limits, provider=self.backend)
        async with aclosing(events):
            raw = await self.collect(events, on_text)
            await _drain(events)
            return raw

    async def _events(
        self, body: dict[str, Json], limits: Timeouts
    ) -> AsyncGenerator[dict[str, Json], None]:
        from openai import AsyncStream

        client = self._open()
        with self._translated():
            stream = await client.post(
                self.path,
                cast_to=object,
                body={**body, "stream": True, **self.extra_when_streaming},
                options=self._options_within(limits),
                stream=True,
                stream_cls=AsyncStream[object],
            )
            async with stream:
                form = stream.response.headers.get("content-type", "text/event-stream")
                if "event-stream" not in form:
                    raise malformed(self.backend, _("it is not an event stream"))
                async for event in stream:
                    if isinstance(event, dict):
                        yield event

    async def _pieces(self, path: str) -> AsyncGenerator[bytes, None]:
        from openai import AsyncStream

        with self._translated():
            stream = await self._open().get(
                path,
                cast_to=object,
                options=self._options,
                stream=True,
                stream_cls=AsyncStream[object],
            )
            async with stream:
                async for piece in stream.response.aiter_bytes():
                    yield piece

    def _translated(self) -> Translation:
        return translated(fault_table(), self._status_error, provider=self.backend)

    def _status_error(self, error: Exception) -> GatewayError:
        return status_error(
            error, provider=self.backend, now=self._clock.now(), secret=self._api_key
        )

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            if self._api_key or not self.key_optional:
                checked_key(self._api_key, provider=self.backend)
            self._client = self._new_client()
            self._options = self._request_options()
        return self._client

    def _new_client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        timeout = _sdk_timeout(self._timeouts)
        return AsyncOpenAI(
            api_key=self._api_key or "unused",  # without one the SDK would look in the environment
            base_url=self._base_url,
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAioHttpClient(
                timeout=timeout,
                follow_redirects=False,
                trust_env=may_use_proxy(self._base_url),
            ),
        )

    def _options_within(self, limits: Timeouts) -> RequestOptions:
        """The options of one call; the client's own time limit is for the ordinary ones."""
        if limits == self._timeouts:
            return self._options
        return {**self._options, "timeout": _sdk_timeout(limits)}

    def _request_options(self) -> RequestOptions:
        """Headers that keep the user's OpenAI settings from reaching anybody but OpenAI."""
        from openai import Omit

        headers: dict[str, str | Omit] = {}
        if self._base_url != _OPENAI_URL:
            names = ("OpenAI-Organization", "OpenAI-Project", *_custom_header_names())
            headers = {name: Omit() for name in names}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        else:
            headers["Authorization"] = Omit()
        return {"headers": headers, "security": {"bearer_auth": True}}


_OPENAI_URL = "https://api.openai.com/v1"
_DRAIN_S = 0.1  # longer than the end of a body takes, shorter than a new connection is worth


def _sdk_timeout(limits: Timeouts) -> Timeout:
    from openai import Timeout

    return Timeout(connect=limits.connect_s, read=limits.total_s, write=limits.total_s, pool=None)


async def _drain(events: AsyncIterator[object]) -> None:
    """Read a stream to its end, so that its connection serves the next call.

    The answer is complete: whatever goes wrong after it only costs the connection.
    """
    with suppress(TimeoutError, GatewayError):
        async with asyncio.timeout(_DRAIN_S):
            async for _event in events:
                pass


def _custom_header_names() -> list[str]:
    """Names of the headers the SDK takes from the environment for every request."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    return [line.partition(":")[0].strip() for line in lines if ":" in line]
