from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigenflow.cache.index import Index
from aigenflow.cache.models import EntryMeta
from aigenflow.cache.storage import Selection
from tests.cache.questions import NOON, stored

WORDS = st.sampled_from(["a", "b", ""])
DATES = st.integers(0, 5).map(lambda hours: NOON + timedelta(hours=hours))
METAS = st.builds(
    EntryMeta,
    key=st.text("0123456789abcdef", min_size=32, max_size=32),
    fingerprint=st.just(""),
    agent=WORDS,
    phase=st.sampled_from(["1", "2"]),
    task=WORDS,
    actor=WORDS,
    provider=WORDS,
    model=WORDS,
    session=WORDS,
    created=DATES,
    seen=st.just(datetime(2100, 1, 1, tzinfo=UTC)),
    input_tokens=st.just(0),
    output_tokens=st.just(0),
    cost=st.none() | st.integers(0, 5).map(Decimal),
)
STORES = st.lists(METAS, max_size=12, unique_by=lambda meta: meta.key)
SELECTIONS = st.builds(
    Selection,
    provider=st.none() | WORDS,
    agent=st.none() | WORDS,
    phase=st.none() | st.sampled_from(["1", "2"]),
    task=st.none() | WORDS,
    session=st.none() | WORDS,
    created_before=st.none() | DATES,
    expired=st.none() | st.booleans(),
    expired_from=st.fixed_dictionaries({"": DATES}, optional={"2": DATES}),
    sort=st.sampled_from(["created", "size", "cost"]),
    limit=st.none() | st.integers(0, 5),
)


def index_of(metas: list[EntryMeta], index: Index | None = None, version: int = 1) -> Index:
    """An index of entries whose size is one byte per letter of their description."""
    by_name = {meta.key: meta for meta in metas}
    index = index or Index()
    index.update(
        dict.fromkeys(by_name, version),
        version,
        lambda name: (by_name[name], len(repr(by_name[name]))),
    )
    return index


def fits(meta: EntryMeta, wanted: Selection) -> bool:
    limit = wanted.expired_from.get(meta.phase, wanted.expired_from[""])
    return (
        wanted.provider in (None, meta.actor, meta.provider)
        and wanted.agent in (None, meta.agent)
        and wanted.phase in (None, meta.phase)
        and wanted.task in (None, meta.task)
        and wanted.session in (None, meta.session)
        and (wanted.created_before is None or meta.created < wanted.created_before)
        and wanted.expired in (None, meta.created <= limit)
    )


@settings(max_examples=300, deadline=None)
@given(STORES, SELECTIONS)
def test_selection_is_a_filter_and_a_sort(metas: list[EntryMeta], wanted: Selection) -> None:
    """The columns choose what reading every entry would choose, also after being stored."""
    ranks = {
        "created": lambda meta: meta.created.timestamp(),
        "size": lambda meta: len(repr(meta)),
        "cost": lambda meta: -1 if meta.cost is None else meta.cost,
    }
    rank = ranks[wanted.sort]
    expected = sorted((m for m in metas if fits(m, wanted)), key=rank, reverse=True)
    by_name = {meta.key: meta for meta in metas}
    for index in (index_of(metas), Index.decode(index_of(metas).encode())):
        found = [by_name[name] for name, _size in index.select(wanted)]
        assert [rank(meta) for meta in found] == [rank(m) for m in expected[: wanted.limit]]
        assert all(fits(meta, wanted) for meta in found)
        assert len({meta.key for meta in found}) == len(found)


@settings(max_examples=200, deadline=None)
@given(STORES, STORES)
def test_an_update_leaves_what_is_there(before: list[EntryMeta], after: list[EntryMeta]) -> None:
    """However the folder changed, the index describes it as if it had been made anew."""
    index = index_of(after, Index.decode(index_of(before).encode()), version=2)
    everything = Selection()
    assert sorted(index.select(everything)) == sorted(index_of(after).select(everything))
    assert index.entries_mtime_ns == 2


def test_only_what_changed_is_read() -> None:
    """An entry whose file is the same is not opened again."""
    meta, data = stored()
    other, _data = stored(created=NOON - timedelta(days=1))
    other = other.model_copy(update={"key": "0" * 32})
    index = Index()
    read: list[str] = []

    def describe(name: str) -> tuple[EntryMeta, int]:
        read.append(name)
        return (meta if name == meta.key else other), len(data)

    index.update({meta.key: 1}, 1, describe)
    index.update({meta.key: 1, other.key: 2}, 2, describe)
    assert read == [meta.key, other.key]
    index.update({meta.key: 9, other.key: 2}, 3, describe)
    assert read == [meta.key, other.key, meta.key]
    assert len(index) == 2


def test_what_cannot_be_described_is_left_out() -> None:
    """A damaged entry is not listed."""
    index = Index()
    index.update({"0" * 32: 1}, 1, lambda _name: None)
    assert len(index) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b'"version":1', b'"version":2'),
        lambda data: data.replace(b'"kinds":[0]', b'"kinds":[1]'),
        lambda data: data.replace(b'"sessions":[0]', b'"sessions":[-1]'),
        lambda data: data.replace(b'"sizes":[', b'"sizes":[1,'),
        lambda data: data.replace(b'"kinds":[0]', b'"kinds":["0"]'),
        lambda data: b"[]",
    ],
)
def test_damage_is_refused(change: object) -> None:
    """Columns that do not fit together are not an index."""
    data = index_of([stored()[0]]).encode()
    assert Index.decode(data)
    with pytest.raises(ValueError, match="index"):
        Index.decode(change(data))  # type: ignore[operator]
