"""Rate limits and prompt caches of the fake providers, with time as an argument."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aigenflow.testing.wire_limits import LOOKED_BACK, PromptCache, RateLimiter
from aigenflow.testing.wire_models import Part
from aigenflow.testing.wire_script import Limits


@given(
    st.integers(1, 5),
    st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=60),
)
def test_no_window_ever_holds_more_than_the_limit(most: int, gaps: list[float]) -> None:
    """Whatever the arrival times, at most ``most`` calls are admitted in any 60 seconds."""
    limiter = RateLimiter(Limits(requests_per_minute=most))
    now, admitted = 0.0, []
    for gap in gaps:
        now += gap
        if limiter.admit(now, 1) == 0:
            admitted.append(now)
    assert all(sum(at - 60 < other <= at for other in admitted) <= most for at in admitted)


def test_whoever_waits_as_told_is_admitted() -> None:
    """The wait is exact: a moment earlier is refused again."""
    limiter = RateLimiter(Limits(requests_per_second=1, requests_per_minute=3))
    assert limiter.admit(0.0, 1) == 0
    assert limiter.admit(0.25, 1) == 0.75
    assert limiter.admit(1.0, 1) == 0
    assert limiter.admit(2.0, 1) == 0
    assert limiter.admit(3.0, 1) == 57.0
    assert limiter.admit(60.0, 1) == 0


def test_tokens_are_limited_over_a_minute() -> None:
    """The wait lasts until enough earlier tokens have left the window."""
    limiter = RateLimiter(Limits(tokens_per_minute=100))
    assert limiter.admit(0.0, 40) == 0
    assert limiter.admit(10.0, 50) == 0
    assert limiter.admit(20.0, 40) == 40.0
    assert limiter.admit(20.0, 90) == 50.0
    assert limiter.admit(60.0, 50) == 0


def test_one_call_above_the_token_limit_passes_when_it_is_alone() -> None:
    """Otherwise it would wait for ever."""
    limiter = RateLimiter(Limits(tokens_per_minute=100))
    assert limiter.admit(0.0, 500) == 0
    assert limiter.admit(1.0, 1) == 59.0


def test_no_limits_admit_everything() -> None:
    """A provider that the script does not limit never refuses."""
    limiter = RateLimiter(Limits())
    assert all(limiter.admit(0.0, 10**6) == 0 for _ in range(100))


LONG = "a" * 4 * 1200


def test_an_equal_beginning_is_cached_in_steps() -> None:
    """From 1,024 tokens on, in steps of 128, per model, until it is forgotten."""
    cache = PromptCache()
    first = cache.implicit("m", [Part(text=LONG)], 0)
    assert (first.input_tokens, first.cached_input_tokens) == (1200, 0)
    assert first.cache_write_5m_tokens == 1152
    second = cache.implicit("m", [Part(text=LONG), Part(text="more")], 1)
    assert (second.input_tokens, second.cached_input_tokens) == (1201, 1152)
    assert cache.implicit("other", [Part(text=LONG)], 2).cached_input_tokens == 0
    assert cache.implicit("m", [Part(text="b" + LONG)], 3).cached_input_tokens == 0
    assert cache.implicit("m", [Part(text=LONG)], 10_000).cached_input_tokens == 0


def test_a_short_prompt_is_never_cached() -> None:
    """Under 1,024 tokens nothing is kept, marked or not."""
    cache = PromptCache()
    part = Part(text="a" * 4 * 1023, cache_ttl_s=300)
    for _ in range(2):
        assert cache.implicit("m", [part], 0).cached_input_tokens == 0
        counts = cache.explicit("m", [part], 0)
        assert (counts.cached_input_tokens, counts.cache_write_5m_tokens) == (0, 0)


def test_marked_prefixes_are_read_and_the_rest_is_written() -> None:
    """The longest known prefix is read; what follows it is written with its own lifetime."""
    cache = PromptCache()
    base, more = Part(text=LONG, cache_ttl_s=3600), Part(text="b" * 400, cache_ttl_s=300)
    tail = Part(text="c" * 40)
    first = cache.explicit("m", [base, tail], 0)
    assert (first.cache_write_1h_tokens, first.cached_input_tokens) == (1200, 0)
    second = cache.explicit("m", [base, more, tail], 1)
    assert (second.cached_input_tokens, second.cache_write_5m_tokens) == (1200, 100)
    third = cache.explicit("m", [base, more, tail], 2)
    assert (third.cached_input_tokens, third.cache_write_5m_tokens) == (1300, 0)
    late = cache.explicit("m", [base, more, tail], 1000)
    assert (late.cached_input_tokens, late.cache_write_5m_tokens) == (1200, 100)


def test_a_mark_looks_back_for_an_earlier_one() -> None:
    """A prefix that an earlier request marked is read where a later one marks only its end."""
    cache = PromptCache()
    heard, more = Part(text="b" * 400), Part(text="c" * 800)
    cache.explicit("m", [Part(text=LONG), replace(heard, cache_ttl_s=300)], 0)
    counts = cache.explicit("m", [Part(text=LONG), heard, replace(more, cache_ttl_s=300)], 1)
    assert (counts.cached_input_tokens, counts.cache_write_5m_tokens) == (1300, 200)
    far = [Part(text=str(number)) for number in range(LOOKED_BACK)]
    parts = [Part(text=LONG), heard, *far, replace(more, cache_ttl_s=300)]
    assert cache.explicit("m", parts, 2).cached_input_tokens == 0


def test_a_known_prefix_covers_a_forgotten_shorter_one() -> None:
    """Nothing inside the longest known prefix is written again."""
    cache = PromptCache()
    parts = [Part(text=LONG, cache_ttl_s=300), Part(text="b" * 400, cache_ttl_s=3600)]
    cache.explicit("m", parts, 0)
    counts = cache.explicit("m", parts, 1000)
    assert counts.cached_input_tokens == 1300
    assert (counts.cache_write_5m_tokens, counts.cache_write_1h_tokens) == (0, 0)


@given(st.lists(st.tuples(st.text(max_size=8000), st.sampled_from([None, 300, 3600]))))
def test_the_parts_of_the_input_never_exceed_the_whole(
    prompt: list[tuple[str, int | None]],
) -> None:
    """Cached and written tokens are parts of the input tokens."""
    cache = PromptCache()
    parts = [Part(text=text * 3, cache_ttl_s=ttl) for text, ttl in prompt]
    for count in (cache.explicit, cache.implicit, cache.explicit, cache.implicit):
        counts = count("m", parts, 0)
        written = counts.cache_write_5m_tokens + counts.cache_write_1h_tokens
        assert 0 <= counts.cached_input_tokens + written <= counts.input_tokens
