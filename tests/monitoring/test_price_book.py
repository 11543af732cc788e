"""Which price counts, and from when."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from aigenflow.core.errors import ConfigError
from aigenflow.core.models import AgentType, Backend, ServedFrom
from aigenflow.monitoring.models import Rates, RateSource
from aigenflow.monitoring.price_book import PriceBook

NOW = datetime(2026, 11, 22, tzinfo=UTC)
MILLION = 1_000_000


def book(tmp_path: Path, text: str = "") -> PriceBook:
    """The shipped prices, with a user's file where there is text for one."""
    path = tmp_path / "pricing.yaml"
    if text:
        path.write_text(text, encoding="utf-8")
    return PriceBook.load(path)


def known(rates: Rates | None) -> Rates:
    assert rates is not None
    return rates


@pytest.mark.parametrize(
    ("agent", "backend", "input_price", "output_price"),
    [
        (AgentType.CLAUDE, Backend.ANTHROPIC, "3.00", "15.00"),
        (AgentType.CHATGPT, Backend.OPENAI, "10.00", "30.00"),
        (AgentType.GEMINI, Backend.GEMINI, "1.25", "5.00"),
        (AgentType.PERPLEXITY, Backend.PERPLEXITY, "1.00", "1.00"),
    ],
)
def test_an_unknown_model_has_its_agents_shipped_rate(
    tmp_path: Path, agent: AgentType, backend: Backend, input_price: str, output_price: str
):
    """A model nobody knows costs the specified fallback rate, and says it is an estimate."""
    rates = known(book(tmp_path).rates_for(agent, backend, "no-such-model", NOW))
    assert rates.base.input * MILLION == Decimal(input_price)
    assert rates.base.output * MILLION == Decimal(output_price)
    assert (rates.source, rates.estimate) == (RateSource.FALLBACK, True)


@pytest.mark.parametrize(
    ("backend", "model", "input_price", "output_price"),
    [
        (Backend.ANTHROPIC, "claude-opus-5-5", "4", "20"),
        (Backend.ANTHROPIC, "claude-sonnet-5-5", "2", "10"),
        (Backend.OPENAI, "gpt-6.1-sol", "2", "10"),
        (Backend.GEMINI, "gemini-3.8-flash", "0.75", "3.75"),
        (Backend.PERPLEXITY, "perplexity/sonar", "0.25", "2.50"),
    ],
)
def test_an_exact_model_has_its_own_price(
    tmp_path: Path, backend: Backend, model: str, input_price: str, output_price: str
):
    """A known model has its published price, whichever agent uses it."""
    rates = known(book(tmp_path).rates_for(AgentType.CHATGPT, backend, model, NOW))
    assert rates.base.input * MILLION == Decimal(input_price)
    assert rates.base.output * MILLION == Decimal(output_price)
    assert (rates.source, rates.estimate) == (RateSource.EXACT, False)


def test_a_new_price_begins_on_its_day(tmp_path: Path):
    """A request keeps the price of its own time, to the UTC day."""
    prices = book(tmp_path)
    change = datetime(2026, 12, 1, tzinfo=UTC)
    seoul = timezone(timedelta(hours=9))
    times = (change - timedelta(seconds=1), change, change.astimezone(seoul))
    inputs = [
        known(prices.rates_for(AgentType.GEMINI, Backend.GEMINI, "gemini-4-argon", at)).base.input
        for at in times
    ]
    assert [price * MILLION for price in inputs] == [2, 4, 4]


def test_discounts_are_claimed_only_where_they_are_published(tmp_path: Path):
    """Batch and flex have their own rates; where none is known, the full price is an estimate."""
    prices = book(tmp_path)

    def quote(backend: Backend, model: str, mode: ServedFrom) -> tuple[Decimal, bool]:
        rates = known(prices.rates_for(AgentType.CLAUDE, backend, model, NOW, mode))
        return rates.base.input * MILLION, rates.estimate

    assert quote(Backend.ANTHROPIC, "claude-opus-5-5", ServedFrom.BATCH) == (2, False)
    assert quote(Backend.OPENAI, "gpt-6.1-sol", ServedFrom.FLEX) == (1, False)
    assert quote(Backend.OPENAI, "gpt-6.1-sol", ServedFrom.BATCH) == (1, False)
    assert quote(Backend.ANTHROPIC, "claude-opus-5-5", ServedFrom.FLEX) == (4, True)
    assert quote(Backend.PERPLEXITY, "perplexity/sonar", ServedFrom.BATCH) == (
        Decimal("0.25"),
        True,
    )


def test_a_discount_does_not_hold_before_its_first_day(tmp_path: Path):
    """A batch rate published from a day on is not claimed for the day before."""
    early = datetime(2026, 10, 13, tzinfo=UTC)
    rates = known(
        book(tmp_path).rates_for(
            AgentType.CLAUDE, Backend.ANTHROPIC, "claude-opus-5-5", early, ServedFrom.BATCH
        )
    )
    assert (rates.base.input * MILLION, rates.estimate) == (4, True)


def test_tiers_reprice_the_whole_call(tmp_path: Path):
    """Above its threshold a model has other rates, for cached input and output too."""
    rates = known(
        book(tmp_path).rates_for(AgentType.CLAUDE, Backend.ANTHROPIC, "claude-haiku-5-5", NOW)
    )
    assert [tier.above_input_tokens for tier in rates.tiers] == [100_000]
    assert rates.at(100_000).input * MILLION == Decimal("0.10")
    assert rates.at(100_001).input * MILLION == Decimal("0.50")
    assert rates.at(100_001).cached_input * MILLION == Decimal("0.05")
    assert rates.at(100_001).output * MILLION == Decimal("2.50")


@pytest.mark.parametrize(
    ("backend", "url", "source"),
    [
        (Backend.OFFLINE, None, RateSource.RULE),
        (Backend.COMPATIBLE, "http://127.0.0.1:8200/v1", RateSource.RULE),
        (Backend.COMPATIBLE, "http://[::1]:11434/v1", RateSource.RULE),
        (Backend.COMPATIBLE, "http://localhost:1234/v1", RateSource.RULE),
        (Backend.COMPATIBLE, "http://localhost.example.com/v1", None),
        (Backend.COMPATIBLE, "https://gpu.example.com/v1", None),
        (Backend.COMPATIBLE, None, None),
        (Backend.ANTHROPIC, "http://127.0.0.1:8200", RateSource.FALLBACK),
    ],
)
def test_only_this_machine_is_free(
    tmp_path: Path, backend: Backend, url: str | None, source: RateSource | None
):
    """Local servers and the offline back-end cost nothing; elsewhere unknown stays unknown."""
    prices = book(tmp_path)
    rates = prices.rates_for(AgentType.CLAUDE, backend, "own-model", NOW, base_url=url)
    assert (rates.source if rates else None) == source
    if source is RateSource.RULE:
        assert known(rates).base.output == 0
    if rates is None:
        with pytest.raises(ConfigError, match="own-model"):
            prices.require(AgentType.CLAUDE, backend, "own-model", NOW, base_url=url)


def test_a_users_row_wins_over_every_other_price(tmp_path: Path):
    """The user's model row comes first, then the user's agent row, then what is published."""
    prices = book(
        tmp_path,
        """
providers:
  - {name: claude, input_per_million: 7, output_per_million: 70}
models:
  - {name: claude-opus-5-5, input_per_million: 1.5, output_per_million: 6}
""",
    )

    def input_price(agent: AgentType, model: str) -> Decimal:
        rates = known(prices.rates_for(agent, Backend.ANTHROPIC, model, NOW))
        assert rates.estimate is False
        return rates.base.input * MILLION

    assert input_price(AgentType.CLAUDE, "claude-opus-5-5") == Decimal("1.5")
    assert input_price(AgentType.CLAUDE, "claude-sonnet-5-5") == 7
    assert input_price(AgentType.GEMINI, "claude-sonnet-5-5") == 2


def test_a_users_model_row_can_say_everything(tmp_path: Path):
    """Cached input, writes, searches, batch and the day a price begins are the row's to say."""
    prices = book(
        tmp_path,
        """
version: "1.0"
currency: USD
models:
  - {name: m, input_per_million: 1, output_per_million: 2}
  - {name: m, input_per_million: 10, output_per_million: 20, cached_input_per_million: 0.5,
     cache_write_per_million: 12.5, search_per_thousand: 5, batch_multiplier: 0.5,
     since: 2026-11-22}
""",
    )

    def quote(at: datetime, mode: ServedFrom) -> Rates:
        return known(prices.rates_for(AgentType.CLAUDE, Backend.COMPATIBLE, "m", at, mode))

    before = quote(NOW - timedelta(days=1), ServedFrom.BATCH)
    assert (before.base.input * MILLION, before.estimate) == (1, True)
    batch = quote(NOW, ServedFrom.BATCH)
    assert batch.estimate is False
    assert [rate * MILLION for rate in (batch.base.input, batch.base.output)] == [5, 10]
    live = quote(NOW, ServedFrom.LIVE).base
    assert live.cached_input * MILLION == Decimal("0.5")
    assert live.cache_write == live.cache_write_1h == Decimal("12.5") / MILLION
    assert live.search == Decimal("0.005")


@pytest.mark.parametrize(
    "text",
    [
        "providers: [{name: claude, input_per_million: -1, output_per_million: 1}]",
        "providers: [{name: claude, input_per_million: .nan, output_per_million: 1}]",
        "providers: [{name: claude, input_per_million: .inf, output_per_million: 1}]",
        "providers: [{name: claude, input_per_million: cheap, output_per_million: 1}]",
        "providers: [{name: claude, input_per_million: 1}]",
        "providers: [{name: llama, input_per_million: 1, output_per_million: 1}]",
        "providers: [{name: claude, input_per_1k: 1, output_per_million: 1}]",
        "currency: EUR",
        "- just a list",
        "providers: [unclosed",
    ],
)
def test_a_wrong_price_is_refused_and_named(tmp_path: Path, text: str):
    """A price that is missing, malformed or in another currency never becomes zero."""
    with pytest.raises(ConfigError, match=r"pricing\.yaml"):
        book(tmp_path, text)


def test_a_price_of_zero_is_a_price(tmp_path: Path):
    """A row of zeros, written on purpose, is known and free."""
    prices = book(tmp_path, "models: [{name: m, input_per_million: 0, output_per_million: 0}]")
    rates = known(prices.rates_for(AgentType.CLAUDE, Backend.COMPATIBLE, "m", NOW))
    assert (rates.base.input, rates.source) == (0, RateSource.USER)


def test_rates_are_worked_out_once(tmp_path: Path):
    """The same question gets the very same object, also after the price tables are loaded."""
    prices = book(tmp_path)
    ask = (AgentType.CLAUDE, Backend.ANTHROPIC, "claude-opus-5-5", NOW)
    assert prices.rates_for(*ask) is prices.rates_for(*ask)
    assert prices.rates_for(*ask) is not prices.rates_for(*ask, ServedFrom.BATCH)


def test_loading_prices_imports_no_price_tables(tmp_path: Path):
    """genai-prices is loaded by the first exact model asked for, and not before."""
    import subprocess

    program = (
        "import sys; from aigenflow.monitoring.price_book import PriceBook; PriceBook.load();"
        "sys.exit('genai_prices' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize(
    "url",
    ["http://127.1.2.3/v1", "http://LOCALHOST/", "https://[::1]/", "http://ollama.localhost:11434"],
)
def test_a_server_on_this_machine_is_free(tmp_path: Path, url: str):
    """However this machine is written, and whatever the model is called."""
    rates = book(tmp_path).rates_for(AgentType.CLAUDE, Backend.COMPATIBLE, "m", NOW, base_url=url)
    assert (known(rates).base.input, known(rates).source) == (0, RateSource.RULE)


@pytest.mark.parametrize("url", [None, "", "http://127.0.0.1.evil.com", "http://10.0.0.1", "x"])
def test_a_server_elsewhere_has_no_price(tmp_path: Path, url: str | None):
    """An address that only looks like this machine is not free."""
    prices = book(tmp_path)
    rates = prices.rates_for(AgentType.CLAUDE, Backend.COMPATIBLE, "m", NOW, base_url=url)
    assert rates is None
