"""Claude, through Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.errors import GatewayError
from aigenflow.core.models import (
    AgentRequest,
    Backend,
    Citation,
    FinishReason,
    GatewayResponse,
    Json,
    Route,
    ServedFrom,
)
from aigenflow.gateway.adapters._answers import Count, Text, Wire, read_object, stamped, validated
from aigenflow.gateway.adapters._faults import (
    Fault,
    FaultTable,
    checked_key,
    ended_early,
    malformed,
    may_use_proxy,
    translated,
)
from aigenflow.gateway.adapters._prompt import GO_ON
from aigenflow.gateway.adapters._wire import as_dict, is_count
from aigenflow.gateway.base import OnText, Timeouts, ignore_text, render_context
from aigenflow.gateway.deadlines import plain_limit, should_stream, watched, within
from aigenflow.gateway.http_errors import error_from_event, error_from_status

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from httpx2 import Request

PROVIDER = Backend.ANTHROPIC.value
OFFICIAL_URL = "https://api.anthropic.com"

_MESSAGES = "/v1/messages"
_MODELS = "/v1/models?limit=1000"
_MAX_CONTINUATIONS = 3
_MAX_SEARCHES = 8  # per answer: each is billed, and brings its results in as input tokens
_CACHEABLE_BYTES = 4 * 1024  # about 1,024 tokens, the least a provider's prompt cache takes

_MARKED_DOCUMENTS = 3
"""Of four marks that a request may have, one is the system text's. More than one document is
marked, because the last ones are often for one task only."""

_FINISH = {
    "end_turn": FinishReason.COMPLETE,
    "stop_sequence": FinishReason.COMPLETE,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "pause_turn": FinishReason.PAUSED,
    "refusal": FinishReason.REFUSAL,
}

_STATUS_OF_EVENT = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500}
"""The status that an ``error`` event stands for: it comes after a 200."""


class _CacheCreation(Wire):
    ephemeral_5m_input_tokens: Count = 0
    ephemeral_1h_input_tokens: Count = 0


class _ServerToolUse(Wire):
    web_search_requests: Count = 0


class _OutputDetails(Wire):
    thinking_tokens: Count = 0


class _Usage(Wire):
    """``input_tokens`` excludes both cache counts; ``output_tokens`` includes thinking."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_creation_input_tokens: Count = 0
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _ServerToolUse | None = None
    service_tier: str | None = None


class _Source(Wire):
    url: Text | None = None
    title: Text | None = None
    cited_text: Text | None = None


class _Block(Wire):
    type: str
    text: Text = ""
    citations: list[_Source] | None = None


class _Message(Wire):
    content: list[_Block] | None
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Models(Wire):
    class Model(Wire):
        id: str

    data: list[Model]


def build_body(request: AgentRequest, route: Route) -> dict[str, Json]:
    """The JSON of one Messages request: what stays the same over many requests stands first.

    Every document is a block of its own: a prompt cache finds a prefix that an earlier request has
    marked only where a block ends, and the next task hears the same documents and one more.

    Newest models refuse a trailing assistant message, so the last one is always the user's.
    """
    prefix = request.system
    body: dict[str, Json] = {"model": route.model, "max_tokens": request.max_output_tokens}
    if request.system:
        body["system"] = [_text_block(request.system, cacheable=_is_cacheable(prefix))]
    texts = [render_context((document,)) for document in request.context]
    parts = []
    for number, text in enumerate(texts, start=1):
        prefix += text
        is_late = number > len(texts) - _MARKED_DOCUMENTS
        parts.append(_text_block(text, cacheable=is_late and _is_cacheable(prefix)))
    parts.append(_text_block(request.prompt))
    body["messages"] = [{"role": "user", "content": parts}]
    if request.answer_so_far:
        body["messages"] += [
            {"role": "assistant", "content": [_text_block(request.answer_so_far)]},
            {"role": "user", "content": [_text_block(GO_ON[request.language])]},
        ]
    if request.web_search:
        search = {"type": "web_search_20250305", "name": "web_search", "max_uses": _MAX_SEARCHES}
        body["tools"] = [search]
    return {**body, **route.options, **request.options}


def parse(raw: dict[str, Json]) -> GatewayResponse:
    """The answer in ``raw``, the JSON of one message. Raises ``MalformedAnswerError``."""
    message = validated(_Message, raw, provider=PROVIDER)
    content, citations = _cited_text(message.content or [])
    finish = _FINISH.get(message.stop_reason or "", FinishReason.UNKNOWN)
    if finish in {FinishReason.COMPLETE, FinishReason.LENGTH} and not content.strip():
        finish, content = FinishReason.EMPTY, ""
    usage = message.usage or _Usage()
    reasoning = (usage.output_tokens_details or _OutputDetails()).thinking_tokens
    # A total contains its parts, also where the provider's own arithmetic does not add up.
    output_tokens = max(usage.output_tokens, reasoning)
    creation = usage.cache_creation or _CacheCreation()
    written_1h = creation.ephemeral_1h_input_tokens
    written = max(
        usage.cache_creation_input_tokens, creation.ephemeral_5m_input_tokens + written_1h
    )
    input_tokens = usage.input_tokens + usage.cache_read_input_tokens + written
    return GatewayResponse(
        content=content,
        success=finish is FinishReason.COMPLETE,
        tokens_used=input_tokens + output_tokens,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=usage.cache_read_input_tokens,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=reasoning,
        search_calls=(usage.server_tool_use or _ServerToolUse()).web_search_requests,
        usage_reported=_has_counts(raw),
        model=message.model,
        backend=Backend.ANTHROPIC,
        finish_reason=finish,
        citations=citations,
        served_from=ServedFrom.BATCH if usage.service_tier == "batch" else ServedFrom.LIVE,
        response_id=message.id,
        raw=raw,
    )


def _has_counts(raw: dict[str, Json]) -> bool:
    counts = as_dict(raw.get("usage"))
    return is_count(counts.get("input_tokens")) and is_count(counts.get("output_tokens"))


def merge_turns(turns: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """One message made of a paused one and its continuations: all blocks, usage summed."""
    if len(turns) == 1:
        return turns[0]
    usage: Json = {}
    for turn in turns:
        usage = _summed(usage, turn.get("usage") or {})
    content = list(chain.from_iterable(turn["content"] or () for turn in turns))
    return {**turns[-1], "content": content, "usage": usage}


def _answer_of(turns: Sequence[dict[str, Json]]) -> GatewayResponse:
    answer = parse(merge_turns(turns))
    if len(turns) == 1:
        return answer
    whole = {
        "calls": tuple(parse(turn).counts for turn in turns),
        "usage_reported": all(_has_counts(turn) for turn in turns),
    }
    return answer.model_copy(update=whole)


class MessageAssembly:
    """Puts the events of a stream together into the message that a plain call would bring.

    ``characters`` counts the text received so far; ``is_complete`` after the terminal event.
    """

    def __init__(self) -> None:
        self.characters = 0
        self.is_complete = False
        self._message: dict[str, Json] | None = None
        self._blocks: dict[int, dict[str, Json]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}

    @property
    def has_begun(self) -> bool:
        """Whether there is any message yet."""
        return self._message is not None

    def add(self, event: Mapping[str, Json]) -> None:
        """Take in one event. Raises ``MalformedAnswerError`` for one that does not fit here."""
        try:
            self._add(event)
        except (KeyError, TypeError, AttributeError):
            raise malformed(PROVIDER, f"event {event.get('type')!s:.40}") from None

    def message(self) -> dict[str, Json]:
        """The message as assembled so far. Raises ``MalformedAnswerError`` if none began."""
        if self._message is None:
            raise malformed(PROVIDER, "no message_start")
        for (index, field), pieces in self._pieces.items():
            text = "".join(pieces)
            block = self._blocks[index]
            if field == "input":
                block["input"] = read_object(text or "{}", provider=PROVIDER)
            else:
                block[field] = block.get(field, "") + text
        self._pieces.clear()
        content = [block for _index, block in sorted(self._blocks.items())]
        return {**self._message, "content": content}

    def _add(self, event: Mapping[str, Json]) -> None:
        match event["type"]:
            case "message_start":
                if self._message is not None:
                    raise KeyError
                self._message = dict(event["message"])
            case "content_block_start":
                if self._message is None or event["index"] in self._blocks:
                    raise KeyError
                self._blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                self._add_delta(event["index"], event["delta"])
            case "message_delta":
                self._add_totals(event["delta"], event.get("usage") or {})
            case "message_stop":
                self.is_complete = True

    def _add_delta(self, index: int, delta: Mapping[str, Json]) -> None:
        block = self._blocks[index]
        match delta["type"]:
            case "text_delta":
                self._pieces.setdefault((index, "text"), []).append(delta["text"])
                self.characters += len(delta["text"])
            case "thinking_delta":
                self._pieces.setdefault((index, "thinking"), []).append(delta["thinking"])
            case "input_json_delta":
                self._pieces.setdefault((index, "input"), []).append(delta["partial_json"])
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            case "signature_delta":
                block["signature"] = delta["signature"]

    def _add_totals(self, delta: Mapping[str, Json], usage: Mapping[str, Json]) -> None:
        if self._message is None:
            raise KeyError
        # Counts are running totals; one that is left out keeps its value of message_start.
        known = {name: count for name, count in usage.items() if count is not None}
        if known or self._message.get("usage"):
            known = {**(self._message.get("usage") or {}), **known}
            self._message["usage"] = known
        self._message.update(delta)


class AnthropicGateway:
    """A :class:`~aigenflow.gateway.base.Gateway` to Anthropic, or a server that speaks like it."""

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
    ) -> None:
        self._key = (api_key or "").strip()
        self._base_url = base_url or OFFICIAL_URL
        self._timeouts = timeouts
        self._clock = clock
        self._sdk: AsyncAnthropic | None = None

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask once, and let a paused turn go on up to three times; their usage is summed.

        The counts of each turn stand beside the sum, because each is priced by itself: a cliff in
        the price counts the input of one call.

        ``on_text`` counts from 0 again in each continuation.
        """
        client = self._client()  # outside the time limits of the call: it loads the SDK
        started = self._clock.monotonic()
        body = build_body(request, route)
        question = body.get("messages") or []
        turns: list[dict[str, Json]] = []
        answer: GatewayResponse | None = None
        while answer is None or (
            answer.finish_reason is FinishReason.PAUSED and len(turns) <= _MAX_CONTINUATIONS
        ):
            try:
                turns.append(await self._turn(client, body, request, on_text))
                answer = _answer_of(turns)
            except GatewayError as error:
                if answer is not None:
                    error.response, error.possibly_billed = answer, True
                raise
            paused = {"role": "assistant", "content": merge_turns(turns)["content"]}
            body = {**body, "messages": [*question, paused]}
        return stamped(answer, request, latency_s=self._clock.monotonic() - started)

    async def list_models(self) -> tuple[str, ...]:
        """Ids of the models the key may use."""
        raw = await self.exchange("GET", _MODELS)
        return tuple(model.id for model in validated(_Models, raw, provider=PROVIDER).data)

    async def exchange(self, method: str, path: str, body: Json = None) -> dict[str, Json]:
        """Send one request of any kind and read the JSON object that answers it."""
        call = self._exchanged(self._client(), method, path, body)
        return await within(call, plain_limit(self._timeouts), provider=PROVIDER)

    def download(self, path: str) -> AsyncGenerator[bytes, None]:
        """The body of an answer, piece by piece."""
        return watched(self._pieces(self._client(), path), self._timeouts, provider=PROVIDER)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._sdk is not None:
            await self._sdk.close()
            self._sdk = None

    async def _turn(
        self,
        client: AsyncAnthropic,
        body: dict[str, Json],
        request: AgentRequest,
        on_text: OnText,
    ) -> dict[str, Json]:
        if should_stream(request):
            return await self._streamed(client, body, on_text)
        limit = plain_limit(self._timeouts)
        raw = await within(self._plain(client, body), limit, provider=PROVIDER)
        on_text(len(parse(raw).content))
        return raw

    async def _plain(self, client: AsyncAnthropic, body: dict[str, Json]) -> dict[str, Json]:
        import httpx2

        with self._translated():
            response = await client.post(_MESSAGES, cast_to=httpx2.Response, body=body)
        return read_object(response.content, provider=PROVIDER)

    async def _exchanged(
        self, client: AsyncAnthropic, method: str, path: str, body: Json
    ) -> dict[str, Json]:
        import httpx2

        with self._translated():
            if method == "GET":
                response = await client.get(path, cast_to=httpx2.Response)
            elif method == "DELETE":
                response = await client.delete(path, cast_to=httpx2.Response)
            else:
                response = await client.post(path, cast_to=httpx2.Response, body=body)
        return read_object(response.content, provider=PROVIDER)

    async def _pieces(self, client: AsyncAnthropic, path: str) -> AsyncGenerator[bytes, None]:
        from anthropic import AsyncStream

        with self._translated():
            stream = await client.get(
                path, cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
            try:
                async for piece in stream.response.aiter_bytes():
                    yield piece
            finally:
                await stream.close()

    async def _streamed(
        self, client: AsyncAnthropic, body: dict[str, Json], on_text: OnText
    ) -> dict[str, Json]:
        assembly = MessageAssembly()
        stream = watched(self._events(client, body), self._timeouts, provider=PROVIDER)
        async with aclosing(stream) as events:
            async for event in events:
                assembly.add(event)
                on_text(assembly.characters)
                if assembly.is_complete:
                    return assembly.message()
        raise ended_early(PROVIDER, began=assembly.has_begun)

    async def _events(
        self, client: AsyncAnthropic, body: dict[str, Json]
    ) -> AsyncGenerator[dict[str, Json], None]:
        """The events of a stream as JSON, from the raw lines: the SDK's own drop what they miss.

        Keep-alive pings count once the answer has begun: a model may think longer than any
        silence we allow.
        """
        from anthropic import AsyncStream

        with self._translated():
            stream = await client.post(
                _MESSAGES,
                cast_to=object,
                body={**body, "stream": True},
                stream=True,
                stream_cls=AsyncStream[object],
            )
            try:
                form = stream.response.headers.get("content-type", "text/event-stream")
                if "event-stream" not in form:
                    raise malformed(PROVIDER, "not an event stream")
                began = False
                async for line in AsyncStream.raw_events(stream.response):
                    if not line.data:
                        continue
                    event = read_object(line.data, provider=PROVIDER)
                    if event.get("type") == "error":
                        raise self._event_error(event)
                    began = began or event.get("type") == "message_start"
                    if began:
                        yield event
            finally:
                await stream.close()

    def _client(self) -> AsyncAnthropic:
        if self._sdk is None:
            import httpx2
            from anthropic import AsyncAnthropic, DefaultAioHttpClient

            key = checked_key(self._key, provider=PROVIDER)
            silence = max(self._timeouts.first_event_s, self._timeouts.idle_s)
            timeout = httpx2.Timeout(silence, connect=self._timeouts.connect_s)
            self._sdk = AsyncAnthropic(
                api_key=key,
                base_url=self._base_url,
                max_retries=0,
                timeout=timeout,
                open_telemetry=False,
                http_client=DefaultAioHttpClient(
                    timeout=timeout,
                    follow_redirects=False,
                    trust_env=may_use_proxy(self._base_url),
                    event_hooks={"request": [_authorisation(key)]},
                ),
            )
        return self._sdk

    def _translated(self) -> AbstractContextManager[None]:
        return translated(fault_table(), self._status_error, provider=PROVIDER)

    def _status_error(self, error: Exception) -> GatewayError:
        from anthropic import APIStatusError

        assert isinstance(error, APIStatusError)
        return error_from_status(
            provider=PROVIDER,
            status=error.status_code,
            headers=error.response.headers,
            body=error.response.text,
            now=self._clock.now(),
            secrets=(self._key,),
        )

    def _event_error(self, event: Mapping[str, Json]) -> GatewayError:
        error = error_from_event(provider=PROVIDER, event=event, secrets=(self._key,))
        inner = event.get("error")
        kind = inner.get("type") if isinstance(inner, dict) else None
        error.status = _STATUS_OF_EVENT.get(str(kind))
        return error


@cache
def fault_table() -> FaultTable:
    """Every exception that the SDK and its transport can let escape, and what it stands for."""
    import aiohttp
    import anthropic
    import httpx2

    return (
        (anthropic.APIStatusError, Fault.STATUS),
        (aiohttp.ClientConnectorError, Fault.UNREACHED),
        (aiohttp.ConnectionTimeoutError, Fault.UNREACHED),
        (httpx2.ConnectTimeout, Fault.UNREACHED),
        (httpx2.PoolTimeout, Fault.UNREACHED),
        (httpx2.UnsupportedProtocol, Fault.UNSENT),
        (httpx2.InvalidURL, Fault.UNSENT),
        (aiohttp.InvalidURL, Fault.UNSENT),
        (UnicodeEncodeError, Fault.UNSENT),
        (anthropic.APITimeoutError, Fault.STALLED),
        (httpx2.TimeoutException, Fault.STALLED),
        (aiohttp.ServerTimeoutError, Fault.STALLED),
        (TimeoutError, Fault.STALLED),
        (anthropic.APIResponseValidationError, Fault.MALFORMED),
        (httpx2.DecodingError, Fault.MALFORMED),
        (UnicodeDecodeError, Fault.MALFORMED),
        (anthropic.APIConnectionError, Fault.CUT),
        (httpx2.TransportError, Fault.CUT),
        (aiohttp.ClientError, Fault.CUT),
        (OSError, Fault.CUT),
        (httpx2.HTTPError, Fault.CUT),
        (httpx2.StreamError, Fault.CUT),
        (anthropic.AnthropicError, Fault.UNSENT),
    )


def _authorisation(key: str) -> Callable[[Request], Awaitable[None]]:
    """Puts the key on a request that is about to leave.

    Only then: the SDK logs the headers it is given, and ANTHROPIC_CUSTOM_HEADERS replaces them.
    """

    async def authorise(request: Request) -> None:
        request.headers["Authorization"] = f"Bearer {key}"
        request.headers.pop("X-Api-Key", None)

    return authorise


def _text_block(text: str, *, cacheable: bool = False) -> dict[str, Json]:
    block: dict[str, Json] = {"type": "text", "text": text}
    if cacheable:
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _is_cacheable(prefix: str) -> bool:
    """Whether a prompt cache takes ``prefix``: a token is seldom more than four bytes."""
    return len(prefix.encode("utf-8", "replace")) >= _CACHEABLE_BYTES


def _cited_text(blocks: Sequence[_Block]) -> tuple[str, tuple[Citation, ...]]:
    """The text blocks as one text with ``[n]`` behind each cited passage, and the sources."""
    citations: dict[str, Citation] = {}
    pieces: list[str] = []
    interrupted = False
    for block in blocks:
        if block.type != "text":
            interrupted = bool(pieces)
            continue
        if interrupted and not (pieces[-1][-1:].isspace() or block.text[:1].isspace()):
            pieces.append("\n\n")  # a search ran in between
        interrupted = False
        numbers = _numbers(block, citations)
        passage = block.text.rstrip()
        pieces += [passage, "".join(f"[{n}]" for n in numbers), block.text[len(passage) :]]
    return "".join(pieces), tuple(citations.values())


def _numbers(block: _Block, citations: dict[str, Citation]) -> list[int]:
    """The numbers of the block's sources, entering new ones into ``citations`` (by URL)."""
    if not block.text.strip():
        return []
    for source in block.citations or ():
        if source.url and source.url not in citations:
            citations[source.url] = Citation(
                url=source.url, title=source.title or "", quote=source.cited_text or ""
            )
    cited = {source.url for source in block.citations or ()}
    return [n for n, url in enumerate(citations, start=1) if url in cited]


def _summed(total: Json, more: Json) -> Json:
    """Two usage records as one: numbers of one name add up, anything else is the later one's."""
    if isinstance(total, dict) and isinstance(more, dict):
        return {**total, **{name: _summed(total.get(name), more[name]) for name in more}}
    if isinstance(total, int | float) and isinstance(more, int | float):
        return total + more
    return total if more is None else more
