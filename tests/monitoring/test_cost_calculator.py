"""Money to the last digit."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.models import AgentType, Backend, GatewayResponse, ServedFrom, TokenCounts
from aigenflow.monitoring.cost_calculator import (
    avoided_by_cache,
    bill,
    cost,
    estimate,
    price,
    worst_case,
)
from aigenflow.monitoring.models import (
    Calibration,
    Rates,
    RateSource,
    TokenRates,
    from_nano,
    to_nano,
)
from aigenflow.monitoring.price_book import PriceBook

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BOOK = PriceBook.load()
MODELS = {
    "claude-haiku-5-5": (AgentType.CLAUDE, Backend.ANTHROPIC, "anthropic"),
    "claude-sonnet-5-5": (AgentType.CLAUDE, Backend.ANTHROPIC, "anthropic"),
    "gpt-6.1-sol": (AgentType.CHATGPT, Backend.OPENAI, "openai"),
    "gpt-6-luna": (AgentType.CHATGPT, Backend.OPENAI, "openai"),
    "gemini-3.8-flash": (AgentType.GEMINI, Backend.GEMINI, "google"),
    "perplexity/sonar": (AgentType.PERPLEXITY, Backend.PERPLEXITY, "perplexity"),
}


def rates(model: str, mode: ServedFrom = ServedFrom.LIVE) -> Rates:
    agent, backend, _provider = MODELS.get(model, MODELS["claude-sonnet-5-5"])
    return BOOK.require(agent, backend, model, NOW, mode)


def answer(**fields: object) -> GatewayResponse:
    return GatewayResponse.model_validate({"content": "text", **fields})


counts = st.builds(
    lambda plain, cached, write, write_1h, output, reasoning, searches: TokenCounts(
        input=plain + cached + write + write_1h,
        output=output + reasoning,
        cached_input=cached,
        cache_write=write + write_1h,
        cache_write_1h=write_1h,
        reasoning=reasoning,
        searches=searches,
    ),
    *[st.integers(0, 400_000)] * 6,
    st.integers(0, 50),
)


def test_the_specified_example_costs_what_it_says():
    """10,000 tokens in and 5,000 out on Claude's fallback rate cost $0.105 exactly."""
    charged = cost(answer(input_tokens=10_000, output_tokens=5_000), rates("unheard-of"))
    assert charged.total == Decimal("0.105")
    assert (charged.parts.input, charged.parts.output) == (Decimal("0.03"), Decimal("0.075"))


GOLDEN = [
    pytest.param(
        "claude-haiku-5-5",
        ServedFrom.LIVE,
        {"input_tokens": 90_000, "output_tokens": 1_000},
        "0.0095",
        id="below the cliff",
    ),
    pytest.param(
        "claude-haiku-5-5",
        ServedFrom.LIVE,
        {"input_tokens": 110_000, "output_tokens": 1_000},
        "0.0575",
        id="above the cliff",
    ),
    # Anthropic reports 1,200 beside 50,000 read, 3,000 written for 5 min and 2,000 for 1 h.
    pytest.param(
        "claude-sonnet-5-5",
        ServedFrom.LIVE,
        {
            "input_tokens": 56_200,
            "cached_input_tokens": 50_000,
            "cache_write_tokens": 5_000,
            "cache_write_1h_tokens": 2_000,
            "output_tokens": 777,
            "search_calls": 3,
        },
        "0.06067",
        id="anthropic cache and searches",
    ),
    pytest.param(
        "claude-sonnet-5-5",
        ServedFrom.BATCH,
        {
            "input_tokens": 56_200,
            "cached_input_tokens": 50_000,
            "cache_write_tokens": 5_000,
            "cache_write_1h_tokens": 2_000,
            "output_tokens": 777,
        },
        "0.015335",
        id="anthropic batch",
    ),
    # OpenAI reports 12,345 with 10,240 cached and 1,000 written inside, 256 of 512 reasoning.
    pytest.param(
        "gpt-6.1-sol",
        ServedFrom.LIVE,
        {
            "input_tokens": 12_345,
            "cached_input_tokens": 10_240,
            "cache_write_tokens": 1_000,
            "output_tokens": 512,
            "reasoning_tokens": 256,
        },
        "0.010854",
        id="openai cached inside",
    ),
    pytest.param(
        "gpt-6.1-sol",
        ServedFrom.FLEX,
        {"input_tokens": 12_345, "cached_input_tokens": 10_240, "output_tokens": 512},
        "0.005177",
        id="openai flex",
    ),
    pytest.param(
        "gpt-6-luna",
        ServedFrom.BATCH,
        {"input_tokens": 272_001, "output_tokens": 1},
        "0.027200475",
        id="openai batch above the cliff",
    ),
    # Gemini reports 200 candidate and 800 thought tokens, and two searches.
    pytest.param(
        "gemini-3.8-flash",
        ServedFrom.LIVE,
        {
            "input_tokens": 4_001,
            "cached_input_tokens": 2_048,
            "output_tokens": 1_000,
            "reasoning_tokens": 800,
            "search_calls": 2,
        },
        "0.03336835",
        id="gemini thoughts and searches",
    ),
    pytest.param(
        "perplexity/sonar",
        ServedFrom.LIVE,
        {"input_tokens": 1_000, "output_tokens": 400, "search_calls": 4},
        "0.01125",
        id="perplexity by its counts",
    ),
    pytest.param(
        "perplexity/sonar",
        ServedFrom.LIVE,
        {"input_tokens": 1_000, "output_tokens": 400, "reported_cost": Decimal("0.0067")},
        "0.0067",
        id="perplexity as reported",
    ),
]


@pytest.mark.parametrize(("model", "mode", "usage", "dollars"), GOLDEN)
def test_golden_usage_costs_to_the_last_digit(
    model: str, mode: ServedFrom, usage: dict[str, object], dollars: str
):
    """Real shapes of usage have their exact price."""
    assert cost(answer(**usage), rates(model, mode)).total == Decimal(dollars)


@given(counts, st.sampled_from(sorted(MODELS)), st.sampled_from(["live", "batch"]))
def test_our_arithmetic_is_that_of_the_price_tables(used: TokenCounts, model: str, mode: str):
    """Any usage of any default model costs what genai-prices itself says, exactly."""
    context = {"processing": mode} if mode == "batch" else None
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=used.input,
            output_tokens=used.output,
            cache_read_tokens=used.cached_input,
            cache_write_tokens=used.cache_write,
            cache_write_1h_tokens=used.cache_write_1h,
            web_searches=used.searches,
        ),
        model,
        provider_id=MODELS[model][2],
        genai_request_timestamp=NOW,
        price_context=context,
    )
    assert price(used, rates(model, ServedFrom(mode))).total == theirs.total_price


@given(counts)
def test_parts_add_up(used: TokenCounts):
    """No token is priced twice or left out: with one rate for all, only the totals matter."""
    one = Decimal("0.000001")
    flat = TokenRates(
        input=one, output=one, cached_input=one, cache_write=one, cache_write_1h=one, reasoning=one
    )
    same = Rates(model="m", mode=ServedFrom.LIVE, source=RateSource.USER, base=flat)
    assert price(used, same).total == (used.input + used.output) * one


def test_contradicting_counts_are_billed_at_the_parts():
    """More cached tokens than input never make a negative cost."""
    charged = price(TokenCounts(input=10, output=0, cached_input=1_000), rates("gpt-6.1-sol"))
    assert charged.total == Decimal("0.0001")


@given(counts, st.sampled_from(sorted(MODELS)), st.sampled_from([*ServedFrom]))
def test_a_bill_explains_the_live_price(used: TokenCounts, model: str, mode: ServedFrom):
    """What is billed and what was saved add up to the same work, live and uncached."""
    response = answer(
        input_tokens=used.input,
        output_tokens=used.output,
        cached_input_tokens=used.cached_input,
        cache_write_tokens=used.cache_write,
        cache_write_1h_tokens=used.cache_write_1h,
        reasoning_tokens=used.reasoning,
        search_calls=used.searches,
    )
    assert response.counts == used
    live = rates(model)
    charged = bill(response, rates(model, mode), live)
    plain = TokenCounts(input=used.input, output=used.output, searches=used.searches)
    assert charged.billed is not None
    saved = charged.discount_saving + charged.prompt_cache_saving
    assert charged.billed + saved == price(plain, live).total
    is_dearer = mode is ServedFrom.PRIORITY
    assert charged.discount_saving <= 0 if is_dearer else charged.discount_saving >= 0


def test_each_call_of_an_answer_is_priced_by_itself():
    """Two turns of 60,000 tokens stay below a cliff at 100,000 that one of 120,000 is beyond."""
    turn = TokenCounts(input=60_000, output=500)
    sums = {"input_tokens": 120_000, "output_tokens": 1_000}
    haiku = rates("claude-haiku-5-5")
    in_turns = bill(answer(**sums, calls=(turn, turn)), haiku, haiku)
    at_once = bill(answer(**sums), haiku, haiku)
    assert in_turns.billed == Decimal("0.0125")
    assert at_once.billed == Decimal("0.0625")
    assert avoided_by_cache(answer(**sums, calls=(turn, turn)), haiku) == in_turns.billed
    assert (in_turns.discount_saving, in_turns.prompt_cache_saving) == (0, 0)


@given(st.lists(counts, min_size=1, max_size=4), st.sampled_from(sorted(MODELS)))
def test_an_answer_costs_what_its_calls_cost(used: list[TokenCounts], model: str):
    """However many calls made an answer, its price is the sum of theirs."""
    charged = bill(answer(calls=tuple(used)), rates(model), rates(model))
    assert charged.billed == sum(price(one, rates(model)).total for one in used)


def test_priority_is_dearer_and_an_estimate_where_its_price_is_not_known():
    """OpenAI publishes a rate for priority; where nobody does, the full price stands in."""
    known, live = rates("gpt-6.1-sol", ServedFrom.PRIORITY), rates("gpt-6.1-sol")
    assert known.base.input > live.base.input
    assert not known.estimate
    charged = bill(answer(input_tokens=1_000_000), known, live)
    assert charged.billed == known.at(1_000_000).input * 1_000_000
    unknown = rates("gemini-3.8-flash", ServedFrom.PRIORITY)
    assert unknown.base == rates("gemini-3.8-flash").base
    assert unknown.estimate


def test_an_unknown_price_stays_unknown():
    """Without rates the bill is unknown, unless the provider reported the charge."""
    assert bill(answer(input_tokens=5), None, None).billed is None
    reported = answer(input_tokens=5, reported_cost=Decimal("0.01"))
    assert bill(reported, None, None).billed == Decimal("0.01")


def test_a_reported_charge_is_no_estimate():
    """A fallback rate makes an estimate, the provider's own figure does not."""
    guess = rates("unheard-of")
    assert bill(answer(input_tokens=5), guess, guess).is_estimate
    assert not bill(answer(reported_cost=Decimal(1)), guess, guess).is_estimate


def test_a_hit_avoids_the_live_price():
    """A hit saves what the same answer costs now, and nothing that cannot be shown."""
    kept = answer(input_tokens=90_000, output_tokens=1_000)
    assert avoided_by_cache(kept, rates("claude-haiku-5-5")) == Decimal("0.0095")
    assert avoided_by_cache(kept, None) == 0
    assert avoided_by_cache(answer(reported_cost=Decimal("0.02")), None) == Decimal("0.02")


def test_an_estimate_starts_from_bytes():
    """Three bytes are a token; half the limit is expected, all of it is the worst case."""
    before = estimate(bytes_sent=3_000, max_output_tokens=1_000, rates=rates("claude-sonnet-5-5"))
    assert (before.input_tokens, before.output_tokens) == (1_000, 500)
    assert before.expected == Decimal("0.007")
    assert before.worst == Decimal("0.01375")


def test_an_estimate_learns_from_the_ledger():
    """Once enough calls are known, tokens are estimated by what was really billed."""
    few = Calibration(calls=19, bytes_sent=4_000, input_tokens=1_000)
    many = Calibration(calls=20, bytes_sent=4_000, input_tokens=1_000)

    def tokens(known: Calibration) -> int:
        return estimate(
            bytes_sent=10, max_output_tokens=1, rates=None, calibration=known
        ).input_tokens

    assert (tokens(few), tokens(many)) == (4, 3)


def test_an_estimate_without_a_price_has_no_dollars():
    """Unknown is not zero before a call either."""
    before = estimate(bytes_sent=10, max_output_tokens=10, rates=None)
    assert (before.expected, before.worst) == (None, None)


@given(counts, st.sampled_from(sorted(MODELS)), st.sampled_from([*ServedFrom]))
def test_the_worst_case_is_the_worst(used: TokenCounts, model: str, mode: ServedFrom):
    """No use of the same input and limits costs more, also cached or written for five minutes."""
    five_minutes = TokenCounts(
        input=used.input,
        output=used.output,
        cached_input=used.cached_input,
        cache_write=used.cache_write,
        reasoning=used.reasoning,
        searches=used.searches,
    )
    quoted = rates(model, mode)
    most = worst_case(used.input, used.output, quoted, used.searches)
    assert price(five_minutes, quoted).total <= most


@given(st.integers(-(10**17), 10**17))
def test_nano_dollars_are_exact(nano: int):
    """Whole nano-dollars survive the way to dollars and back."""
    assert to_nano(from_nano(nano)) == nano


def test_half_a_nano_dollar_goes_to_the_even_neighbour():
    """Rounding favours nobody."""
    assert [to_nano(Decimal(n).scaleb(-10)) for n in (5, 15, 25)] == [0, 2, 2]


PLAIN = Rates(
    model="m",
    mode=ServedFrom.LIVE,
    source=RateSource.USER,
    base=TokenRates(
        input=Decimal(2),
        output=Decimal(10),
        cached_input=Decimal(1),
        cache_write=Decimal(3),
        cache_write_1h=Decimal(4),
        reasoning=Decimal(20),
        search=Decimal(100),
        request=Decimal(1000),
    ),
)
"""Dollars per token that tell every part apart."""


def test_every_rate_is_used_for_what_it_is():
    """One of each, in whole dollars."""
    used = TokenCounts(
        input=15, output=9, cached_input=5, cache_write=4, cache_write_1h=1, reasoning=3, searches=2
    )
    parts = price(used, PLAIN)
    assert (parts.input, parts.cached_input, parts.cache_write) == (12, 5, 3 * 3 + 4)
    assert (parts.output, parts.reasoning, parts.fees) == (60, 60, 2 * 100 + 1000)
    assert parts.total == 12 + 5 + 13 + 60 + 60 + 1200


def test_the_worst_case_adds_up_what_is_dearest():
    """Input written to the prompt cache, output all reasoning, every search, and the request."""
    assert worst_case(10, 7, PLAIN, 2) == 15 * 3 + 7 * 20 + 2 * 100 + 1000
    assert worst_case(10, 7, PLAIN) == 15 * 3 + 7 * 20 + 1000


def test_an_estimate_foresees_the_usual_output_and_one_search():
    """Half of the limit, or what the ledger has seen of the task, but never more than the limit."""
    quoted = estimate(bytes_sent=30, max_output_tokens=9, rates=PLAIN, max_searches=3)
    assert (quoted.bytes_sent, quoted.input_tokens, quoted.output_tokens) == (30, 10, 5)
    assert quoted.expected == 10 * 2 + 5 * 10 + 100 + 1000
    assert quoted.worst == worst_case(10, 9, PLAIN, 3)
    for expected, output in ((3, 3), (9, 9), (50, 9)):
        known = estimate(
            bytes_sent=30, max_output_tokens=9, rates=PLAIN, expected_output_tokens=expected
        )
        assert known.output_tokens == output
        assert known.expected == 10 * 2 + output * 10 + 1000


def test_one_of_two_prices_is_not_enough_for_a_bill():
    """Without the live price nothing is known about what a discount saved."""
    used = answer(input_tokens=10, output_tokens=2)
    assert bill(used, PLAIN, None).billed is None
    assert bill(used, None, PLAIN).billed is None
    assert bill(used, PLAIN, PLAIN).billed == 10 * 2 + 2 * 10 + 1000
