"""Gemini, through Google's generateContent."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from functools import cache
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.errors import (
    GatewayError,
    RateLimitedError,
    RejectedError,
    ServerFaultError,
)
from aigenflow.core.models import (
    AgentRequest,
    Backend,
    Citation,
    FinishReason,
    GatewayResponse,
    Json,
    Processing,
    Route,
    ServedFrom,
)
from aigenflow.gateway.adapters._answers import Count, Text, Wire, read_object, stamped, validated
from aigenflow.gateway.adapters._faults import (
    Fault,
    FaultTable,
    broken_off,
    checked_key,
    malformed,
    may_use_proxy,
    no_capacity,
    refuses_tier,
    translated,
)
from aigenflow.gateway.adapters._prompt import GO_ON
from aigenflow.gateway.base import OnText, Timeouts, ignore_text, render_context
from aigenflow.gateway.deadlines import for_flex, plain_limit, should_stream, watched, within
from aigenflow.gateway.http_errors import error_from_event, error_from_status

if TYPE_CHECKING:
    import aiohttp
    from google.genai import Client
    from google.genai.types import GenerateContentConfig, HttpOptions, HttpResponse

PROVIDER = Backend.GEMINI.value
OFFICIAL_URL = "https://generativelanguage.googleapis.com"
API_VERSION = "v1beta"  # the names that end in -latest exist only there

_READ_AHEAD = 4 * 1024 * 1024  # bytes; one event may hold a whole answer
_REPLACED = "-"  # the SDK insists on contents of its own; those of the body take their place

_FINISH = {
    "STOP": FinishReason.COMPLETE,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,
    "FINISH_REASON_UNSPECIFIED": FinishReason.UNKNOWN,
    "OTHER": FinishReason.UNKNOWN,
    "MALFORMED_FUNCTION_CALL": FinishReason.UNKNOWN,
    "MALFORMED_RESPONSE": FinishReason.UNKNOWN,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.UNKNOWN,
    "NO_IMAGE": FinishReason.UNKNOWN,
    "IMAGE_OTHER": FinishReason.UNKNOWN,
    "TOO_MANY_TOOL_CALLS": FinishReason.UNKNOWN,
    "UNEXPECTED_TOOL_CALL": FinishReason.UNKNOWN,
    "BLOCKLIST": FinishReason.FILTERED,
    "ESCALATION": FinishReason.FILTERED,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.FILTERED,
    "IMAGE_RECITATION": FinishReason.FILTERED,
    "IMAGE_SAFETY": FinishReason.FILTERED,
    "LANGUAGE": FinishReason.FILTERED,
    "MODEL_ARMOR": FinishReason.FILTERED,
    "PROHIBITED_CONTENT": FinishReason.FILTERED,
    "PUP_LIMITED_DISABLED": FinishReason.FILTERED,
    "RECITATION": FinishReason.FILTERED,
    "SAFETY": FinishReason.FILTERED,
    "SPII": FinishReason.FILTERED,
}

_FLEX = "flex"
_NO_CAPACITY = frozenset({429, 503})  # flex runs on what is left over, and is shed first
_TIER_HEADER = "x-gemini-service-tier"
_SERVED_FROM = {
    _FLEX: ServedFrom.FLEX,
    "batch": ServedFrom.BATCH,
    "priority": ServedFrom.PRIORITY,
}


class _Camel(Wire):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _Usage(_Camel):
    """``prompt_token_count`` includes the cached ones; thoughts and tool results are extra."""

    prompt_token_count: Count = 0
    tool_use_prompt_token_count: Count = 0
    cached_content_token_count: Count = 0
    candidates_token_count: Count = 0
    thoughts_token_count: Count = 0
    service_tier: str | None = None


class _Part(_Camel):
    text: Text | None = None
    thought: bool | None = None

    @property
    def visible(self) -> bytes:
        """The text that belongs to the answer, as UTF-8: offsets count bytes."""
        return b"" if self.thought else (self.text or "").encode()


class _Content(_Camel):
    parts: list[_Part] | None = None


class _Web(_Camel):
    uri: Text | None = None
    title: Text | None = None


class _Chunk(_Camel):
    web: _Web | None = None


class _Segment(_Camel):
    part_index: Count = 0
    end_index: Count = 0
    text: Text | None = None


class _Support(_Camel):
    segment: _Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class _Grounding(_Camel):
    grounding_chunks: list[_Chunk] | None = None
    grounding_supports: list[_Support] | None = None
    web_search_queries: list[str] | None = None


class _Candidate(_Camel):
    content: _Content | None = None
    finish_reason: str | None = None
    grounding_metadata: _Grounding | None = None


class _Feedback(_Camel):
    block_reason: str | None = None


class _Answer(_Camel):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    response_id: str | None = None


def build_body(request: AgentRequest, route: Route) -> dict[str, Json]:
    """The JSON of one generateContent request: what stays the same stands first."""
    context = render_context(request.context)
    contents = [_content("user", *filter(None, (context, request.prompt)))]
    if request.answer_so_far:
        contents.append(_content("model", request.answer_so_far))
        contents.append(_content("user", GO_ON[request.language]))
    body: dict[str, Json] = {
        "contents": contents,
        "generationConfig": {"maxOutputTokens": request.max_output_tokens},
    }
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.web_search:
        body["tools"] = [{"googleSearch": {}}]
    if request.processing is Processing.FLEX:
        body["serviceTier"] = _FLEX
    return _overlaid(_overlaid(body, route.options), request.options)


def parse(raw: dict[str, Json]) -> GatewayResponse:
    """The answer in ``raw``, the JSON of one response. Raises ``MalformedAnswerError``."""
    answer = validated(_Answer, raw, provider=PROVIDER)
    blocked = answer.prompt_feedback is not None and answer.prompt_feedback.block_reason
    if not answer.candidates and not blocked:
        raise malformed(PROVIDER, "candidates: missing")
    candidate = answer.candidates[0] if answer.candidates else _Candidate()
    grounding = candidate.grounding_metadata or _Grounding()
    parts = (candidate.content or _Content()).parts or []
    content, citations = _cited_text(parts, grounding)
    finish = _FINISH.get(candidate.finish_reason or "", FinishReason.UNKNOWN)
    if blocked:
        finish = FinishReason.FILTERED
    elif finish in {FinishReason.COMPLETE, FinishReason.LENGTH} and not content.strip():
        finish, content = FinishReason.EMPTY, ""
    usage = answer.usage_metadata or _Usage()
    # A total contains its parts, also where the provider's own arithmetic does not add up.
    prompt_tokens = max(usage.prompt_token_count, usage.cached_content_token_count)
    input_tokens = prompt_tokens + usage.tool_use_prompt_token_count
    output_tokens = usage.candidates_token_count + usage.thoughts_token_count
    return GatewayResponse(
        content=content,
        success=finish is FinishReason.COMPLETE,
        tokens_used=input_tokens + output_tokens,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=usage.cached_content_token_count,
        reasoning_tokens=usage.thoughts_token_count,
        search_calls=len(grounding.web_search_queries or ()),
        usage_reported=answer.usage_metadata is not None,
        model=answer.model_version or "",
        backend=Backend.GEMINI,
        finish_reason=finish,
        citations=citations,
        served_from=_SERVED_FROM.get((usage.service_tier or "").lower(), ServedFrom.LIVE),
        response_id=answer.response_id or "",
        raw=raw,
    )


class AnswerAssembly:
    """Puts the chunks of a stream together into the answer that a plain call would bring.

    ``characters`` counts the answer's text received so far; ``is_complete`` once the model has
    said why it stopped, or the prompt was blocked.
    """

    def __init__(self) -> None:
        self.characters = 0
        self.is_complete = False
        self._answer: dict[str, Json] = {}
        self._candidate: dict[str, Json] = {}
        self._grounding: dict[str, Json] = {}
        self._parts: list[tuple[dict[str, Json], list[str]]] = []

    def add(self, chunk: Mapping[str, Json]) -> None:
        """Take in one chunk. Raises ``MalformedAnswerError`` for one that is not a chunk."""
        try:
            self._add(chunk)
        except (KeyError, TypeError, AttributeError, IndexError):
            raise malformed(PROVIDER, "chunk of a stream") from None

    def answer(self) -> dict[str, Json]:
        """The answer as assembled so far."""
        if not self._candidate:
            return self._answer
        parts = [{**part, "text": "".join(texts)} if texts else part for part, texts in self._parts]
        candidate = {**self._candidate, "content": {"role": "model", "parts": parts}}
        if self._grounding:
            candidate["groundingMetadata"] = self._grounding
        return {**self._answer, "candidates": [candidate]}

    def _add(self, chunk: Mapping[str, Json]) -> None:
        # Counts are running totals, and of anything else said twice the later word holds.
        self._answer |= {name: value for name, value in chunk.items() if name != "candidates"}
        if (chunk.get("promptFeedback") or {}).get("blockReason"):
            self.is_complete = True
        for candidate in (chunk.get("candidates") or ())[:1]:
            self._candidate |= candidate
            self._grounding |= candidate.get("groundingMetadata") or {}
            for part in (candidate.get("content") or {}).get("parts") or ():
                self._add_part(part)
            self.is_complete = self.is_complete or bool(candidate.get("finishReason"))

    def _add_part(self, part: Mapping[str, Json]) -> None:
        rest = {name: value for name, value in part.items() if name != "text"}
        text = part.get("text")
        if text is None:
            self._parts.append((rest, []))
            return
        if not rest.get("thought"):
            self.characters += len(text)
        if self._parts and self._parts[-1][1] and _same_kind(self._parts[-1][0], rest):
            self._parts[-1][0].update(rest)
            self._parts[-1][1].append(text)
        else:
            self._parts.append((rest, [text]))


class GeminiGateway:
    """A :class:`~aigenflow.gateway.base.Gateway` to Gemini, or a server that speaks like it."""

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
        self._sdk: Client | None = None
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, request: AgentRequest, route: Route, on_text: OnText = ignore_text
    ) -> GatewayResponse:
        """Ask once."""
        client = self._client()  # outside the time limits of the call: it loads the SDK
        started = self._clock.monotonic()
        body = build_body(request, route)
        flex = str(body.get("serviceTier", "")).lower() == _FLEX
        limits = for_flex(self._timeouts) if flex else self._timeouts
        try:
            if should_stream(request):
                answer = parse(await self._streamed(client, route.model, body, limits, on_text))
            else:
                call = self._plain(client, route.model, body, limits)
                answer = parse(await within(call, plain_limit(limits), provider=PROVIDER))
                on_text(len(answer.content))
        except (RateLimitedError, ServerFaultError, RejectedError) as error:
            is_refused = error.status in _NO_CAPACITY or refuses_tier(error)
            if flex and is_refused and not error.possibly_billed:
                raise no_capacity(error) from None
            raise
        return stamped(answer, request, latency_s=self._clock.monotonic() - started)

    async def list_models(self) -> tuple[str, ...]:
        """Names of the models the key may use."""
        call = self._models(self._client())
        return await within(call, plain_limit(self._timeouts), provider=PROVIDER)

    async def exchange(self, method: str, path: str, body: Json = None) -> dict[str, Json]:
        """Send one request of any kind and read the JSON object that answers it.

        Past the SDK, whose batch jobs lose their counts and the reason of a failure.
        """
        call = self._exchanged(method, self._url(f"{API_VERSION}/{path}"), {"json": body})
        text, _headers = await within(call, plain_limit(self._timeouts), provider=PROVIDER)
        return read_object(text, provider=PROVIDER)

    def download(self, path: str) -> AsyncGenerator[bytes, None]:
        """The body of an answer, piece by piece."""
        return watched(self._pieces(path), self._timeouts, provider=PROVIDER)

    async def upload(self, data: bytes, name: str) -> str:
        """Hand in the requests of a batch job and return the name of their file.

        The first answer says where the bytes go. Only its path and query are believed.
        """
        start = self._exchanged(
            "POST",
            self._url(f"upload/{API_VERSION}/files"),
            {"json": {"file": {"displayName": name, "mimeType": "application/jsonl"}}},
            headers={
                "X-Goog-Upload-Protocol": "resumable",
                "X-Goog-Upload-Command": "start",
                "X-Goog-Upload-Header-Content-Length": str(len(data)),
                "X-Goog-Upload-Header-Content-Type": "application/jsonl",
            },
        )
        _text, headers = await within(start, plain_limit(self._timeouts), provider=PROVIDER)
        target = urlsplit(headers.get("X-Goog-Upload-URL", ""))
        if not target.path:
            raise malformed(PROVIDER, "X-Goog-Upload-URL: missing")
        own = urlsplit(self._base_url)
        finish = self._exchanged(
            "POST",
            target._replace(scheme=own.scheme, netloc=own.netloc).geturl(),
            {"data": data},
            headers={"X-Goog-Upload-Offset": "0", "X-Goog-Upload-Command": "upload, finalize"},
        )
        text, _headers = await within(finish, self._timeouts.total_s, provider=PROVIDER)
        file = read_object(text, provider=PROVIDER).get("file")
        if not isinstance(file, dict) or not isinstance(file.get("name"), str):
            raise malformed(PROVIDER, "file.name: missing")
        return str(file["name"])

    async def aclose(self) -> None:
        """Close the connections."""
        sdk, session = self._sdk, self._session
        self._sdk = self._session = None
        if sdk is not None:
            await sdk.aio.aclose()
            sdk.close()
        if session is not None:
            await session.close()

    async def _models(self, client: Client) -> tuple[str, ...]:
        with self._translated():
            pager = await client.aio.models.list(config={"page_size": 1000})
        names = [(model.name or "").removeprefix("models/") for model in pager.page]
        if not any(names):
            raise malformed(PROVIDER, "models: missing")
        return tuple(name for name in names if name)

    async def _plain(
        self, client: Client, model: str, body: dict[str, Json], limits: Timeouts
    ) -> dict[str, Json]:
        with self._translated():
            answer = await client.aio.models.generate_content(
                model=model, contents=_REPLACED, config=_config(body, limits, plain=True)
            )
        received = answer.sdk_http_response
        raw = read_object((received and received.body) or "", provider=PROVIDER)
        return _with_tier(raw, received)

    async def _streamed(
        self,
        client: Client,
        model: str,
        body: dict[str, Json],
        limits: Timeouts,
        on_text: OnText,
    ) -> dict[str, Json]:
        assembly = AnswerAssembly()
        stream = watched(self._chunks(client, model, body, limits), limits, provider=PROVIDER)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                assembly.add(chunk)
                on_text(assembly.characters)
        answer = assembly.answer()
        if assembly.is_complete or "candidates" not in answer:
            return answer
        raise broken_off(PROVIDER)

    async def _chunks(
        self, client: Client, model: str, body: dict[str, Json], limits: Timeouts
    ) -> AsyncGenerator[dict[str, Json], None]:
        with self._translated():
            stream = await client.aio.models.generate_content_stream(
                model=model, contents=_REPLACED, config=_config(body, limits, plain=False)
            )
            async for chunk in stream:
                raw = chunk.model_dump(
                    mode="json",
                    by_alias=True,
                    exclude_none=True,
                    exclude={"sdk_http_response", "parsed", "automatic_function_calling_history"},
                )
                yield _with_tier(raw, chunk.sdk_http_response)

    def _url(self, path: str) -> str:
        return f"{self._base_url.rstrip('/')}/{path}"

    @asynccontextmanager
    async def _answered(
        self, method: str, url: str, sent: Mapping[str, Json], headers: Mapping[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The answer to one request. Raises the error that a status other than 200 stands for."""
        import aiohttp

        self._client()
        assert self._session is not None
        with self._translated():
            async with self._session.request(
                method,
                url,
                headers={**headers, "x-goog-api-key": self._key},
                timeout=aiohttp.ClientTimeout(total=self._timeouts.total_s),
                allow_redirects=False,
                **sent,
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise error_from_status(
                        provider=PROVIDER,
                        status=answer.status,
                        headers=answer.headers,
                        body=await answer.text(),
                        now=self._clock.now(),
                        secrets=(self._key,),
                    )
                yield answer

    async def _exchanged(
        self,
        method: str,
        url: str,
        sent: Mapping[str, Json],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of the answer."""
        async with self._answered(method, url, sent, headers) as answer:
            return await answer.read(), answer.headers

    async def _pieces(self, path: str) -> AsyncGenerator[bytes, None]:
        url = self._url(f"{API_VERSION}/{path}")
        async with self._answered("GET", url, {}, {}) as answer:
            async for piece in answer.content.iter_any():
                yield piece

    def _client(self) -> Client:
        if self._sdk is None:
            from google import genai

            key = checked_key(self._key, provider=PROVIDER)
            self._session = _open_session(self._base_url, self._timeouts)
            self._sdk = genai.Client(
                # Each of these is otherwise looked for in the environment.
                api_key=key,
                vertexai=False,
                debug_config=genai.client.DebugConfig(
                    client_mode=None, replays_directory=None, replay_id=None
                ),
                http_options=_http_options(self._base_url, self._timeouts, self._session),
            )
        return self._sdk

    def _translated(self) -> AbstractContextManager[None]:
        return translated(fault_table(), self._status_error, provider=PROVIDER)

    def _status_error(self, error: Exception) -> GatewayError:
        import aiohttp
        from google.genai.errors import APIError

        assert isinstance(error, APIError)
        secrets = (self._key,)
        if not isinstance(error.response, aiohttp.ClientResponse):  # inside a stream, after a 200
            event = error.details if isinstance(error.details, dict) else {}
            fault = error_from_event(provider=PROVIDER, event=event, secrets=secrets)
            fault.status = error.code
            return fault
        return error_from_status(
            provider=PROVIDER,
            status=error.code,
            headers=error.response.headers,
            body=json.dumps(error.details),
            now=self._clock.now(),
            secrets=secrets,
        )


@cache
def fault_table() -> FaultTable:
    """Every exception that the SDK and its transport can let escape, and what it stands for."""
    import aiohttp
    from google.auth.exceptions import GoogleAuthError
    from google.genai import errors

    return (
        (errors.APIError, Fault.STATUS),
        (aiohttp.ClientConnectorError, Fault.UNREACHED),
        (aiohttp.ConnectionTimeoutError, Fault.UNREACHED),
        (aiohttp.InvalidURL, Fault.UNSENT),
        (aiohttp.NonHttpUrlClientError, Fault.UNSENT),
        (UnicodeEncodeError, Fault.UNSENT),
        (GoogleAuthError, Fault.UNSENT),
        (TimeoutError, Fault.STALLED),
        (aiohttp.ClientError, Fault.CUT),
        (errors.ContinuationInterruptedError, Fault.CUT),
        (OSError, Fault.CUT),
        (ValueError, Fault.MALFORMED),
        # The SDK takes the answer's shape for granted until it has walked through it.
        (AttributeError, Fault.MALFORMED),
        (TypeError, Fault.MALFORMED),
    )


def _content(role: str, *texts: str) -> dict[str, Json]:
    return {"role": role, "parts": [{"text": text} for text in texts]}


def _overlaid(body: dict[str, Json], options: Mapping[str, Json]) -> dict[str, Json]:
    """``body`` with ``options`` laid over it, field by field where both hold an object."""
    result = dict(body)
    for name, value in options.items():
        under = result.get(name)
        if isinstance(under, dict) and isinstance(value, Mapping):
            result[name] = _overlaid(under, value)
        else:
            result[name] = value
    return result


def _with_tier(answer: dict[str, Json], received: HttpResponse | None) -> dict[str, Json]:
    """``answer`` with the tier it was served at, which Google says in a header.

    The SDK drops it from the counts of a stream.
    """
    headers = {
        name.lower(): value for name, value in ((received and received.headers) or {}).items()
    }
    usage = answer.get("usageMetadata")
    if _TIER_HEADER not in headers or not isinstance(usage, dict):
        return answer
    return {**answer, "usageMetadata": {"serviceTier": headers[_TIER_HEADER], **usage}}


def _config(body: dict[str, Json], limits: Timeouts, *, plain: bool) -> GenerateContentConfig:
    """Sends ``body`` as it is; ``plain`` gives the answer back as the text that arrived."""
    from google.genai import types

    return types.GenerateContentConfig(
        automatic_continuation=False,  # each would be another call, unseen and billed
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        should_return_http_response=plain,
        http_options=types.HttpOptions(extra_body=body, timeout=_milliseconds(limits.total_s)),
    )


def _http_options(base_url: str, timeouts: Timeouts, session: aiohttp.ClientSession) -> HttpOptions:
    from google.genai import types

    return types.HttpOptions(
        base_url=base_url,
        api_version=API_VERSION,
        timeout=_milliseconds(timeouts.total_s),
        aiohttp_client=session,
        async_client_args={"allow_redirects": False},
        # Without this the SDK sends a request again, unasked, after some errors of the connection.
        retry_options=types.HttpRetryOptions(attempts=1),
    )


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _open_session(base_url: str, timeouts: Timeouts) -> aiohttp.ClientSession:
    """A session of our own: the SDK's has no limit for connecting and reads ``~/.netrc``."""
    import aiohttp
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    class Connector(aiohttp.TCPConnector):
        async def connect(
            self,
            req: aiohttp.ClientRequest,
            traces: list[Trace],
            timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
        ) -> Connection:
            limits = aiohttp.ClientTimeout(total=timeout.total, sock_connect=timeouts.connect_s)
            return await super().connect(req, traces, limits)

    class Response(aiohttp.ClientResponse):
        """Of an error the status counts: a body that cannot be read must not hide it."""

        async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
            is_error = self.status != HTTPStatus.OK
            return await super().text(encoding, "replace" if is_error else errors)

        async def json(self, **options: Json) -> Json:
            try:
                return await super().json(**options)
            except ValueError:
                if self.status == HTTPStatus.OK:
                    raise
                return {}

    return aiohttp.ClientSession(
        connector=Connector(limit=0),
        response_class=Response,
        proxy=_environment_proxy(base_url),
        read_bufsize=_READ_AHEAD,
    )


def _environment_proxy(base_url: str) -> str | None:
    host = urlsplit(base_url).hostname or ""
    if not may_use_proxy(base_url) or proxy_bypass(host):
        return None
    return getproxies().get("https")


def _same_kind(part: Mapping[str, Json], other: Mapping[str, Json]) -> bool:
    """Whether two parts are pieces of one text: both thoughts, or both answer."""
    if not (part.keys() | other.keys()) <= {"thought", "thoughtSignature"}:
        return False
    return bool(part.get("thought")) == bool(other.get("thought"))


def _cited_text(parts: Sequence[_Part], grounding: _Grounding) -> tuple[str, tuple[Citation, ...]]:
    """The answer's text with ``[n]`` behind each supported passage, and the sources."""
    text = b"".join(part.visible for part in parts)
    supports = grounding.grounding_supports or []
    numbers, citations = _numbered(grounding.grounding_chunks or [], supports)
    marks: dict[int, set[int]] = {}
    for support in supports:
        cited = {numbers[i] for i in support.grounding_chunk_indices or () if i in numbers}
        if cited and support.segment is not None:
            marks.setdefault(_end(support.segment, parts, text), set()).update(cited)
    for position in sorted(marks, reverse=True):
        mark = "".join(f"[{n}]" for n in sorted(marks[position]))
        text = text[:position] + mark.encode() + text[position:]
    return text.decode(), citations


def _numbered(
    chunks: Sequence[_Chunk], supports: Sequence[_Support]
) -> tuple[dict[int, int], tuple[Citation, ...]]:
    """The number of each source by chunk index, and the sources: one per URL.

    Sources that support no passage are left out, unless the answer marks no passages at all.
    """
    used = {index for support in supports for index in support.grounding_chunk_indices or ()}
    numbers: dict[int, int] = {}
    citations: dict[str, Citation] = {}
    for index, chunk in enumerate(chunks):
        if chunk.web is None or not chunk.web.uri or (used and index not in used):
            continue
        url = chunk.web.uri
        citations.setdefault(url, Citation(url=url, title=chunk.web.title or ""))
        numbers[index] = list(citations).index(url) + 1
    return numbers, tuple(citations.values())


def _end(segment: _Segment, parts: Sequence[_Part], text: bytes) -> int:
    """Where ``segment`` ends in ``text``, in bytes of UTF-8, between two characters.

    Offsets count from the part that the segment names. Where thoughts stand before the answer,
    they may count from the beginning of the answer instead, so the words it quotes decide.
    """
    quoted = (segment.text or "").encode()
    before = sum(len(part.visible) for part in parts[: segment.part_index])
    ends = (before + segment.end_index, segment.end_index)
    fitting = [end for end in ends if text.endswith(quoted, 0, end)]
    if not fitting and quoted in text:
        fitting = [text.index(quoted) + len(quoted)]
    end = min([*fitting, *ends][0], len(text))
    while end < len(text) and text[end] & 0xC0 == 0x80:  # inside a character
        end += 1
    return end
