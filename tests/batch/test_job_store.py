from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigenflow.batch.job_moves import item_id, question_of
from aigenflow.batch.job_store import (
    CHUNK,
    LEASE_S,
    Ending,
    Item,
    Job,
    JobStore,
    Stage,
    decode_outcome,
    encode_outcome,
    ending_of,
    is_usable,
    jobs_url,
)
from aigenflow.core.errors import (
    ConfigError,
    EmptyAnswerError,
    GatewayError,
    JobItemNotRunError,
    JournalWriteError,
    RateLimitedError,
)
from aigenflow.core.jobs import ItemOutcome, JobState, JobStatus
from aigenflow.core.models import Backend, ContextDocument, FinishReason, GatewayResponse
from aigenflow.testing.clock import START
from tests.support.jobs import a_request, answer_to, route_at

POSTGRES = os.environ.get("AIGENFLOW_TEST_POSTGRES")
ROUTE = replace(route_at(Backend.OPENAI), options={"service_tier": "auto"})


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(
                not POSTGRES, reason="AIGENFLOW_TEST_POSTGRES names no server"
            ),
        ),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """An empty store in each kind of database."""
    url = jobs_url("sqlite:", tmp_path) if request.param == "sqlite" else str(POSTGRES)
    if request.param == "postgresql":
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS jobs, job_items, job_waiters, job_leases")
    opened = JobStore(url, tmp_path)
    yield opened
    opened.close()


def a_job(tag: str = "t", size: int = 1) -> Job:
    return Job(tag=tag, route=ROUTE, created=START, size=size)


def an_item(task: str = "draft", session: str = "s1", tag: str = "t", number: int = 0) -> Item:
    request = a_request(task, session)
    return Item(
        id=item_id(tag, number),
        tag=tag,
        fingerprint=question_of(request, ROUTE),
        request=request,
        reservation=f"r-{tag}-{number}",
    )


def handed_in(store: JobStore, *items: Item) -> None:
    assert store.intend(a_job(items[0].tag, len(items)), items) == {}


def brought(store: JobStore, *outcomes: ItemOutcome, tag: str = "t") -> None:
    store.record(tag, outcomes)
    store.settled(outcomes)
    store.closed(tag, START)


def test_a_job_and_its_items_are_read_as_they_were_written(store: JobStore) -> None:
    """Every text verbatim, also Korean in either form, and the provider's options."""
    document = ContextDocument(id="d", title="제목", text="한글 \N{DIGIT ONE}\u1112\u1161\u11ab ㈜")
    request = a_request(context=(document,), options={"a": [1, {"b": None}]}, complete_by=START)
    item = replace(an_item(), request=request)
    handed_in(store, item)
    assert store.item(item.id) == item
    assert store.job("t") == a_job()
    assert list(store.items("t")) == [[item]]
    assert store.sessions("t") == ["s1"]
    assert store.job("nothing") is None
    assert store.item("nothing") is None


def test_the_stages_of_a_job(store: JobStore) -> None:
    """Intended, submitted, collected, closed; open until then."""
    handed_in(store, an_item())
    status = JobStatus(job="j", tag="t", state=JobState.RUNNING)
    store.submitted("t", ["j"], status, START)
    store.watched("t", replace(status, succeeded=1, problem="p"))
    store.cancelling("t", START)
    (job,) = store.jobs(only_open=True)
    assert (job.stage, job.ids, job.state) == (Stage.SUBMITTED, ("j",), JobState.RUNNING)
    assert (job.submitted, job.cancelled, job.succeeded, job.problem) == (START, START, 1, "p")
    store.record("t", [ItemOutcome(id="t-0", response=answer_to(a_request()))])
    assert store.jobs()[0].stage is Stage.COLLECTED
    store.closed("t", START)
    assert store.jobs(only_open=True) == []
    assert store.endings("t") == {Ending.RESULT: 1}


def test_an_outcome_is_never_replaced(store: JobStore) -> None:
    """A second collection changes nothing: what a session got stays what it got."""
    handed_in(store, an_item())
    first = ItemOutcome(id="t-0", response=answer_to(a_request()))
    store.record("t", [first])
    store.record("t", [ItemOutcome(id="t-0", error=JobItemNotRunError("late"))])
    found = store.item("t-0")
    assert found is not None
    assert found.outcome == first


def test_a_question_that_another_process_handed_in_is_left_out(store: JobStore) -> None:
    """The item that answers it is named instead; a job without items is not written."""
    handed_in(store, an_item())
    again = an_item(session="s2", tag="u")
    assert store.intend(a_job("u"), [again]) == {again.fingerprint: "t-0"}
    assert store.job("u") is None


def test_what_was_given_is_for_those_who_waited_for_it(store: JobStore) -> None:
    """Untaken it is anybody's, afterwards only theirs: their process may have died."""
    item = an_item()
    handed_in(store, item)
    store.attach(item.id, "s2")
    brought(store, ItemOutcome(id=item.id, response=answer_to(item.request)))
    assert store.look_up(item.fingerprint, "stranger") is not None
    store.take(item.id, "s3", START)
    found = [store.look_up(item.fingerprint, name) for name in ("s1", "s2", "s3")]
    assert all(one is not None and one.taken for one in found)
    assert store.look_up(item.fingerprint, "stranger") is None
    assert store.look_up(item.fingerprint, "") is None


def outcomes_of_all_kinds() -> list[ItemOutcome]:
    answer = answer_to(a_request())
    return [
        ItemOutcome(id="i", response=answer),
        ItemOutcome(id="i", response=answer.model_copy(update={"estimated_cost": Decimal("0.1")})),
        ItemOutcome(id="i", error=JobItemNotRunError("no", hint="resume")),
        ItemOutcome(id="i", error=RateLimitedError("429", provider="openai")),
        ItemOutcome(id="i", error=EmptyAnswerError("empty", response=answer)),
        ItemOutcome(id="i", error=GatewayError("?", status=418, possibly_billed=True)),
    ]


@pytest.mark.parametrize("outcome", outcomes_of_all_kinds())
def test_outcomes_are_read_as_they_were_written(outcome: ItemOutcome) -> None:
    """An error keeps its kind, its words, and the answer it came with."""
    read = decode_outcome("i", encode_outcome(outcome))
    assert read.response == outcome.response
    assert type(read.error) is type(outcome.error)
    assert vars(read.error or Exception()) == vars(outcome.error or Exception())
    assert ending_of(read) is ending_of(outcome)


@given(st.text(alphabet=st.characters(codec=None), max_size=50))
def test_any_text_of_a_provider_can_be_kept(text: str) -> None:
    """Half a character becomes a question mark; everything else stays."""
    outcome = ItemOutcome(id="i", response=GatewayResponse(content=text, raw={"text": text}))
    read = decode_outcome("i", encode_outcome(outcome)).response
    assert read is not None
    assert read.content == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("taken", "ours", "reason", "usable"),
    [
        (False, False, FinishReason.EMPTY, True),
        (True, True, FinishReason.COMPLETE, True),
        (True, True, FinishReason.LENGTH, True),
        (True, True, FinishReason.EMPTY, False),
        (True, True, FinishReason.REFUSAL, False),
        (True, False, FinishReason.COMPLETE, False),
    ],
)
def test_which_items_answer_a_question(
    taken: bool, ours: bool, reason: FinishReason, usable: bool
) -> None:
    """An answer that was of no use is not given a second time."""
    outcome = ItemOutcome(id="t-0", response=GatewayResponse(content="x", finish_reason=reason))
    item = replace(an_item(), outcome=outcome, settled=True, taken=taken)
    assert is_usable(item, ours=ours) is usable
    assert is_usable(replace(item, settled=False), ours=False)


def test_only_what_somebody_got_long_ago_is_removed(store: JobStore) -> None:
    """A job goes with its last item; what nobody used stays."""
    handed_in(store, an_item("draft"), an_item("charts", number=1))
    handed_in(store, an_item("polish", tag="u"))
    for tag, number in (("t", 0), ("t", 1), ("u", 0)):
        answer = ItemOutcome(id=item_id(tag, number), response=answer_to(a_request()))
        brought(store, answer, tag=tag)
    store.take("t-0", "s1", START)
    store.take("u-0", "s1", START)
    assert store.prune(START) == 0
    assert store.prune(START + timedelta(days=30)) == 2
    assert [job.tag for job in store.jobs()] == ["t"]
    assert store.item_ids("t") == ["t-1"]


def test_many_items_are_read_in_their_order_and_in_parts(store: JobStore) -> None:
    """So that a job of any size takes little memory."""
    items = [an_item(f"task {number}", number=number) for number in range(CHUNK + 7)]
    handed_in(store, *items)
    parts = list(store.items("t"))
    assert [len(part) for part in parts] == [CHUNK, 7]
    assert [item.id for part in parts for item in part] == [item.id for item in items]
    assert store.item_ids("t") == [item.id for item in items]


def test_a_discarded_job_leaves_nothing(store: JobStore) -> None:
    """As if it had never been."""
    item = an_item()
    handed_in(store, item)
    store.discard("t")
    assert store.jobs() == []
    assert store.look_up(item.fingerprint, "s1") is None


def test_one_process_works_a_job(store: JobStore) -> None:
    """Others may as soon as it has let go."""
    claim = store.claim("t", START)
    assert claim is not None
    assert claim.renew(START)
    assert store.claim("t", START) is None
    other = store.claim("u", START)
    assert other is not None
    other.release()
    claim.release()
    again = store.claim("t", START)
    assert again is not None
    again.release()


@pytest.mark.skipif(not POSTGRES, reason="AIGENFLOW_TEST_POSTGRES names no server")
def test_who_is_silent_for_long_loses_the_job(tmp_path: Path) -> None:
    """And finds out when it holds on to it."""
    store = JobStore(str(POSTGRES), tmp_path)
    held = store.claim("silent", START)
    assert held is not None
    later = START + timedelta(seconds=LEASE_S + 1)
    taken = store.claim("silent", later)
    assert taken is not None
    assert not held.renew(later)
    held.release()
    assert taken.renew(later)
    taken.release()
    store.close()


@pytest.mark.skipif(not POSTGRES, reason="AIGENFLOW_TEST_POSTGRES names no server")
def test_a_lease_lasts_from_its_last_renewal(tmp_path: Path) -> None:
    """However late each renewal comes: a job of a day is not lost to the sum of small delays."""
    store = JobStore(str(POSTGRES), tmp_path)
    held = store.claim("steady", START)
    assert held is not None
    now = START
    for _renewal in range(6):
        now += timedelta(seconds=LEASE_S - 1)
        assert held.renew(now)
        assert store.claim("steady", now + timedelta(seconds=LEASE_S - 1)) is None
    held.release()
    store.close()


def test_no_file_is_made_before_the_first_job(tmp_path: Path) -> None:
    """And then only its owner can read it."""
    store = JobStore(jobs_url("sqlite:", tmp_path), tmp_path)
    assert not store.is_there
    assert store.jobs() == []
    assert not (tmp_path / "jobs.db").exists()
    handed_in(store, an_item())
    assert store.is_there
    assert stat.S_IMODE((tmp_path / "jobs.db").stat().st_mode) == 0o600
    store.close()


def test_where_jobs_are_kept(tmp_path: Path) -> None:
    """At home, unless the ledger is in PostgreSQL."""
    at_home = f"sqlite:///{tmp_path / 'jobs.db'}"
    assert jobs_url("sqlite:", tmp_path) == at_home
    assert jobs_url("sqlite:////elsewhere/ledger.db", tmp_path) == at_home
    assert jobs_url("postgresql://h/db", tmp_path) == "postgresql://h/db"


def test_a_store_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """Nothing is bought that could not be written down first."""
    (tmp_path / "jobs.db").write_bytes(b"no database" * 500)
    store = JobStore(jobs_url("sqlite:", tmp_path), tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        store.jobs()
    with pytest.raises(JournalWriteError, match="cannot be written"):
        store.intend(a_job(), [an_item()])


def test_what_a_session_still_waits_for(store: JobStore) -> None:
    """Its own items and those it joined, until they are settled."""
    store.intend(a_job(size=2), [an_item(), an_item("charts", "s2", number=1)])
    store.attach("t-1", "s1")
    assert [item.id for item in store.unsettled_for("s1")] == ["t-0", "t-1"]
    assert [item.id for item in store.unsettled_for("s2")] == ["t-1"]
    assert store.unsettled_for("s3") == []
    outcome = ItemOutcome(id="t-0", response=answer_to(a_request()))
    store.record("t", [outcome])
    store.settled([outcome])
    assert [item.id for item in store.unsettled_for("s1")] == ["t-1"]


def test_nobody_waits_where_no_process_has_ever_made_a_job(tmp_path: Path) -> None:
    """Asking makes no database."""
    store = JobStore(jobs_url("sqlite:", tmp_path), tmp_path)
    assert store.unsettled_for("s1") == []
    assert list(tmp_path.iterdir()) == []
