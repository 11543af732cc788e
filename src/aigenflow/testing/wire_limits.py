"""Rate limits and prompt caches as the providers keep them, with time as an argument."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence

from aigenflow.testing.wire_models import BYTES_PER_TOKEN, Counts, Part, tokens_of
from aigenflow.testing.wire_script import Limits

CACHE_MINIMUM_TOKENS = 1024
LOOKED_BACK = 20
CACHE_STEP_TOKENS = 128
IMPLICIT_CACHE_TTL_S = 600


class RateLimiter:
    """Sliding windows of one provider. ``now`` is monotonic, in seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls: deque[tuple[float, int]] = deque()

    def admit(self, now: float, tokens: int) -> float:
        """Take a call of ``tokens`` and return 0, or leave it and return the seconds to wait."""
        while self._calls and self._calls[0][0] <= now - 60:
            self._calls.popleft()
        wait = max(
            self._requests_wait(now, 1.0, self._limits.requests_per_second),
            self._requests_wait(now, 60.0, self._limits.requests_per_minute),
            self._tokens_wait(now, tokens),
        )
        if wait <= 0:
            self._calls.append((now, tokens))
        return wait

    def _requests_wait(self, now: float, window_s: float, most: int | None) -> float:
        recent = [at for at, _ in self._calls if at > now - window_s]
        if most is None or len(recent) < most:
            return 0.0
        return recent[-most] + window_s - now

    def _tokens_wait(self, now: float, tokens: int) -> float:
        if self._limits.tokens_per_minute is None:
            return 0.0
        excess = sum(used for _, used in self._calls) + tokens - self._limits.tokens_per_minute
        wait = 0.0
        for at, used in self._calls:
            if excess <= 0:
                break
            excess -= used
            wait = at + 60 - now
        return wait


class PromptCache:
    """What one provider remembers of earlier prompts, per model. ``now`` is in seconds."""

    def __init__(self) -> None:
        self._expiry: dict[bytes, float] = {}

    def explicit(self, model: str, parts: Sequence[Part], now: float) -> Counts:
        """Anthropic's rule: prefixes end at marked parts and live as long as the mark says.

        The longest known prefix is read, what follows it up to the last mark is written. A prefix
        under 1,024 tokens is not kept. From a mark that is not known the provider looks back for
        one that an earlier request has made, over at most ``LOOKED_BACK`` parts.
        """
        total = cached = 0
        written: dict[int, int] = {}
        start = 0
        digest = hashlib.sha256(f"explicit|{model}".encode())
        before: deque[tuple[bytes, int]] = deque(maxlen=LOOKED_BACK)
        for part in parts:
            digest.update(f"{len(part.text)}|{part.text}".encode("utf-8", "replace"))
            total += tokens_of(part.text)
            before.append((digest.digest(), total))
            if part.cache_ttl_s is None or total < CACHE_MINIMUM_TOKENS:
                continue
            known = max((end for key, end in before if self._knows(key, now)), default=0)
            if known > start:
                cached, start, written = known, known, {}
            self._touch(digest.digest(), now, part.cache_ttl_s)
            if total > start:
                written[part.cache_ttl_s] = written.get(part.cache_ttl_s, 0) + total - start
            start = total
        return Counts(
            input_tokens=total,
            cached_input_tokens=cached,
            cache_write_5m_tokens=written.get(300, 0),
            cache_write_1h_tokens=written.get(3600, 0),
        )

    def implicit(self, model: str, parts: Sequence[Part], now: float) -> Counts:
        """The rule of the others: equal beginnings of 1,024 tokens or more, in steps of 128."""
        data = "\x00".join(part.text for part in parts).encode("utf-8", "replace")
        total = sum(tokens_of(part.text) for part in parts)
        digest = hashlib.sha256(f"implicit|{model}".encode())
        cached = known = 0
        for end in range(CACHE_STEP_TOKENS, total + 1, CACHE_STEP_TOKENS):
            step = CACHE_STEP_TOKENS * BYTES_PER_TOKEN
            digest.update(data[end * BYTES_PER_TOKEN - step : end * BYTES_PER_TOKEN])
            if end < CACHE_MINIMUM_TOKENS:
                continue
            known = end
            if self._touch(digest.digest(), now, IMPLICIT_CACHE_TTL_S):
                cached = end
        return Counts(
            input_tokens=total, cached_input_tokens=cached, cache_write_5m_tokens=known - cached
        )

    def _knows(self, key: bytes, now: float) -> bool:
        return self._expiry.get(key, float("-inf")) > now

    def _touch(self, key: bytes, now: float, ttl_s: int) -> bool:
        """Whether the prefix is known; from now on it is."""
        known = self._knows(key, now)
        self._expiry[key] = now + ttl_s
        return known
