"""What the batch jobs of all providers share: lines in pieces, and their bounds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.core.errors import MalformedAnswerError
from aigenflow.core.jobs import ItemOutcome
from aigenflow.core.models import GatewayResponse, Json, ServedFrom
from aigenflow.gateway.adapters import _jobs


def take(line: Mapping[str, Json]) -> _jobs.Result | None:
    """A result whose answer is the field ``text`` of its line."""

    def read() -> GatewayResponse:
        return GatewayResponse(content=str(line["text"]))

    item = line.get("custom_id")
    return _jobs.Result(item, read) if isinstance(item, str) else None


async def read(pieces: Sequence[bytes]) -> list[ItemOutcome]:
    async def arriving() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return await _jobs.outcomes(arriving(), take, provider="p")


@given(st.data())
async def test_lines_arrive_in_any_pieces(data: st.DataObject) -> None:
    """However the network cuts a file, also inside a character, the same items come out."""
    texts = data.draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=5))
    records = [{"custom_id": f"i-{n}", "text": text} for n, text in enumerate(texts)]
    file = _jobs.json_lines(records)
    if data.draw(st.booleans()):
        file = file.rstrip(b"\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=6)))
    edges = [0, *cuts, len(file)]
    pieces = [file[a:b] for a, b in pairwise(edges)]
    found = await read(pieces)
    assert [(each.id, each.response and each.response.content) for each in found] == [
        (f"i-{n}", text) for n, text in enumerate(texts)
    ]
    assert all(each.response and each.response.served_from is ServedFrom.BATCH for each in found)


async def test_a_line_longer_than_any_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not held in memory, and costs its own item only."""
    monkeypatch.setattr(_jobs, "LONGEST_LINE_BYTES", 100)
    long = json.dumps({"custom_id": "long", "text": "x" * 1000}).encode()
    short = json.dumps({"custom_id": "short", "text": "y"}).encode()
    first, second = await read([long[:50], long[50:] + b"\n" + short])
    assert (first.id, type(first.error)) == ("long", MalformedAnswerError)
    assert second.response is not None


async def test_an_id_in_the_text_is_not_the_items() -> None:
    """In a broken line only what stands at its beginning names the item."""
    broken = b'{"text": "' + b"x" * 600 + b'"custom_id": "forged", '
    assert await read([broken]) == []


@pytest.mark.parametrize("name", ["../../v1/files", "a?b=c", "a#b", "a b", "..", "a%2fb"])
def test_an_id_stays_in_its_place(name: str) -> None:
    """An id cannot leave the path it is put into."""
    path = _jobs.in_path(name)
    assert ".." not in path
    assert not set("?# ") & set(path)
