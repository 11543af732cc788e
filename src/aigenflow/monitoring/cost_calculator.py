"""Arithmetic of money: exact, and with nothing read from anywhere. Dollars as ``Decimal``.

How a call's counts contain each other is stated once, in
:class:`~aigenflow.core.models.TokenCounts`; how they are priced::

    cost = (input - cached - written) * input_rate + cached * cached_rate
         + (written - written_1h) * write_rate + written_1h * write_1h_rate
         + (output - reasoning) * output_rate + reasoning * reasoning_rate
         + searches * search_fee + request_fee

with the rates of the tier that the *whole* input falls into. An answer that took several calls
costs what each of them costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import reduce
from operator import add

from aigenflow.core.models import GatewayResponse, TokenCounts
from aigenflow.monitoring.models import (
    ZERO,
    Bill,
    Calibration,
    Cost,
    CostParts,
    Estimate,
    Rates,
)

BYTES_PER_TOKEN = 3.0
"""UTF-8 bytes of prompt for each input token, until the ledger knows better."""

WORST_INPUT_FACTOR = 1.5
"""How far the input may exceed its estimate: Korean or dense numbers on an unkind tokenizer."""

EXPECTED_OUTPUT_SHARE = 0.5
"""How much of its length limit an answer is expected to use."""

_CALLS_TO_TRUST = 20


def price(counts: TokenCounts, rates: Rates) -> CostParts:
    """What that many tokens cost. Parts that contradict their total are billed as the parts."""
    at = rates.at(counts.input)
    plain = max(0, counts.input - counts.cached_input - counts.cache_write)
    short_writes = max(0, counts.cache_write - counts.cache_write_1h)
    return CostParts(
        input=plain * at.input,
        cached_input=counts.cached_input * at.cached_input,
        cache_write=short_writes * at.cache_write + counts.cache_write_1h * at.cache_write_1h,
        output=max(0, counts.output - counts.reasoning) * at.output,
        reasoning=counts.reasoning * at.reasoning,
        fees=counts.searches * at.search + at.request,
    )


def cost(response: GatewayResponse, rates: Rates) -> Cost:
    """What an answer cost: as the provider reported it, else by tokens and fees of its calls."""
    parts = _price_of_all(response.counts_by_call, rates)
    if response.reported_cost is not None:
        return Cost(total=response.reported_cost, parts=parts, reported=True)
    return Cost(total=parts.total, parts=parts)


def bill(response: GatewayResponse, rates: Rates | None, live_rates: Rates | None) -> Bill:
    """What an answer that a provider gave is billed at, and what its discounts saved.

    ``rates`` are those of the mode it was served in, ``live_rates`` the full ones of the same
    model. An unknown price stays unknown unless the provider reported the charge.
    """
    if rates is None or live_rates is None:
        return Bill(billed=response.reported_cost)
    calls = response.counts_by_call
    charged = cost(response, rates)
    live = _price_of_all(calls, live_rates).total
    uncached = _price_of_all(map(_without_prompt_cache, calls), live_rates).total
    return Bill(
        billed=charged.total,
        discount_saving=live - charged.parts.total,
        prompt_cache_saving=uncached - live,
        is_estimate=rates.estimate and not charged.reported,
    )


def avoided_by_cache(response: GatewayResponse, live_rates: Rates | None) -> Decimal:
    """What a hit in the response cache saved: the same answer bought now, live.

    Zero where the price is not known, so that no saving is claimed that cannot be shown.
    """
    if live_rates is None:
        return response.reported_cost or ZERO
    return cost(response, live_rates).total


def estimate(
    *,
    bytes_sent: int,
    max_output_tokens: int,
    rates: Rates | None,
    max_searches: int = 0,
    calibration: Calibration | None = None,
    expected_output_tokens: int | None = None,
) -> Estimate:
    """What a call will probably and at worst cost, before it is made.

    The worst case takes the whole length limit and every search allowed. It bounds the input for
    prose, JSON and Korean text, not for random bytes, and not for what a search adds to the
    input: what a call costs beyond it shows in the ledger as spent all the same.
    """
    input_tokens = _expected_input(bytes_sent, calibration)
    output_tokens = (
        math.ceil(max_output_tokens * EXPECTED_OUTPUT_SHARE)
        if expected_output_tokens is None
        else min(expected_output_tokens, max_output_tokens)
    )
    probable = TokenCounts(input=input_tokens, output=output_tokens, searches=min(1, max_searches))
    return Estimate(
        bytes_sent=bytes_sent,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        expected=price(probable, rates).total if rates else None,
        worst=worst_case(input_tokens, max_output_tokens, rates, max_searches) if rates else None,
    )


def worst_case(
    input_tokens: int, max_output_tokens: int, rates: Rates, max_searches: int = 0
) -> Decimal:
    """The most a call with about that much input can cost, in dollars."""
    most_input = math.ceil(input_tokens * WORST_INPUT_FACTOR)
    at = rates.at(most_input)
    return (
        most_input * max(at.input, at.cache_write)
        + max_output_tokens * max(at.output, at.reasoning)
        + max_searches * at.search
        + at.request
    )


def _expected_input(bytes_sent: int, calibration: Calibration | None) -> int:
    if calibration is None or calibration.calls < _CALLS_TO_TRUST or not calibration.bytes_sent:
        return math.ceil(bytes_sent / BYTES_PER_TOKEN)
    return -(-bytes_sent * calibration.input_tokens // calibration.bytes_sent)


def _price_of_all(calls: Iterable[TokenCounts], rates: Rates) -> CostParts:
    return reduce(add, (price(counts, rates) for counts in calls))


def _without_prompt_cache(counts: TokenCounts) -> TokenCounts:
    return replace(counts, cached_input=0, cache_write=0, cache_write_1h=0)
