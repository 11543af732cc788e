"""The request queue: nobody is lost, nobody leaves twice, nobody waits without need."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aigenflow.batch.queue import BatchQueue, Ticket

SIZE = 3
WAIT_S = 2.0


def queue() -> BatchQueue[str]:
    return BatchQueue(max_batch_size=SIZE, max_wait_s=WAIT_S)


@dataclass(frozen=True)
class Offer:
    """``item`` goes to the provider its first letter names, as one of ``party``."""

    item: str
    at: float
    leaves: str = ""
    party: int | None = None


@dataclass(frozen=True)
class Withdraw:
    """One of ``party`` will not come."""

    party: int
    at: float
    leaves: str = ""


@dataclass(frozen=True)
class Due:
    """Only time has passed."""

    at: float
    leaves: str = ""


Step = Offer | Withdraw | Due

CASES: dict[str, tuple[tuple[int, ...], tuple[Step, ...]]] = {
    "one that nobody announced waits for company, and no longer": (
        (),
        (Offer("a1", 0.0), Due(1.9), Due(2.0, "a1"), Due(9.0)),
    ),
    "a full group leaves at once": (
        (),
        (Offer("a1", 0.0), Offer("a2", 0.1), Offer("a3", 0.2, "a1 a2 a3")),
    ),
    "groups fill up separately": (
        (),
        (Offer("a1", 0.0), Offer("b1", 0.0), Offer("a2", 0.0), Offer("b2", 0.0), Due(1.0)),
    ),
    "the time of the oldest counts for its group, and for no other": (
        (),
        (Offer("a1", 0.0), Offer("a2", 1.5), Offer("b1", 1.5), Due(2.0, "a1 a2"), Due(3.5, "b1")),
    ),
    "an announced pair leaves with its second half": (
        (2,),
        (Offer("a1", 0.0, party=0), Offer("b1", 0.1, "a1 b1", party=0)),
    ),
    "a party of one does not wait": ((1,), (Offer("a1", 0.0, "a1", party=0),)),
    "the first of a pair does not wait for one that will not come": (
        (2,),
        (Offer("a1", 0.0, party=0), Withdraw(0, 0.1, "a1")),
    ),
    "one that comes after a withdrawal does not wait": (
        (2,),
        (Withdraw(0, 0.0), Offer("a1", 0.1, "a1", party=0)),
    ),
    "the missing half is not waited for beyond the limit": (
        (2,),
        (Offer("a1", 0.0, party=0), Due(2.0, "a1"), Offer("b1", 3.0, "b1", party=0)),
    ),
    "parties do not wait for each other": (
        (2, 2),
        (
            Offer("a1", 0.0, party=0),
            Offer("b1", 0.1, party=1),
            Offer("c1", 0.2, "a1 c1", party=0),
            Offer("d1", 0.3, "b1 d1", party=1),
        ),
    ),
    "whoever stands in a group that leaves comes along": (
        (2, 3),
        (
            Offer("a1", 0.0, party=0),
            Offer("a2", 0.1, party=1),
            Offer("b1", 0.2, "a1 a2 b1", party=0),
            Offer("b2", 0.3, party=1),
            Offer("c1", 0.4, "b2 c1", party=1),
        ),
    ),
    "an announcement is no reason for others to wait": (
        (1, 5),
        (Offer("a1", 0.0, "a1", party=0),),
    ),
    "a large party fills groups before it is complete": (
        (4,),
        (
            Offer("a1", 0.0, party=0),
            Offer("a2", 0.0, party=0),
            Offer("a3", 0.0, "a1 a2 a3", party=0),
            Offer("a4", 0.0, "a4", party=0),
        ),
    ),
    "what leaves together is in the order of arrival": (
        (4,),
        (
            Offer("b1", 0.0, party=0),
            Offer("a1", 0.0, party=0),
            Offer("b2", 0.0, party=0),
            Offer("a2", 0.0, "b1 a1 b2 a2", party=0),
        ),
    ),
    "those who come later do not put off the time of the first": (
        (),
        (Offer("a1", 0.0), Offer("a2", 1.9), Due(2.0, "a1 a2")),
    ),
    "an offer finds what is due elsewhere": (
        (),
        (Offer("a1", 0.0), Offer("b1", 5.0, "a1")),
    ),
}


@pytest.mark.parametrize(("parties", "steps"), CASES.values(), ids=CASES)
def test_who_leaves_when(parties: tuple[int, ...], steps: tuple[Step, ...]) -> None:
    """The table of cases: each step, and what leaves at it."""
    line = queue()
    tickets = [list(line.announce(size)) for size in parties]
    for step in steps:
        match step:
            case Offer():
                ticket = None if step.party is None else tickets[step.party].pop()
                left = line.offer(step.item, group=step.item[0], now=step.at, ticket=ticket)
            case Withdraw():
                left = line.withdraw(tickets[step.party].pop(), step.at)
            case Due():
                left = line.due(step.at)
        assert " ".join(left) == step.leaves, step


def test_a_second_request_of_an_asker_counts_once() -> None:
    """A fallback or a continuation uses the same ticket: it makes nobody leave early or late."""
    line = queue()
    first, second = line.announce(2)
    assert line.offer("a1", group="a", now=0.0, ticket=first) == ()
    assert line.offer("b1", group="b", now=0.0, ticket=first) == ()
    assert line.offer("c1", group="c", now=0.0, ticket=second) == ("a1", "b1", "c1")
    assert line.offer("a2", group="a", now=1.0, ticket=first) == ("a2",)


def test_withdrawing_after_asking_changes_nothing() -> None:
    """Everyone withdraws when they leave; only those who did not ask are missing."""
    line = queue()
    first, _second, _third = line.announce(3)
    assert line.offer("a1", group="a", now=0.0, ticket=first) == ()
    assert line.withdraw(first, 0.0) == ()
    assert line.withdraw(first, 0.0) == ()
    assert len(line) == 1


def test_one_that_was_removed_is_gone() -> None:
    """It neither leaves nor fills a group; removing it again finds nothing."""
    line = queue()
    for item in ("a1", "a2"):
        line.offer(item, group="a", now=0.0)
    assert line.remove("a1")
    assert not line.remove("a1")
    assert line.offer("a3", group="a", now=1.0) == ()
    assert line.due(2.0) == ("a2", "a3")
    assert not line.remove("a2")


def test_the_next_moment_is_that_of_the_oldest() -> None:
    """Whoever drives the queue can sleep until then, and need not while it is empty."""
    line = queue()
    assert line.next_due() is None
    line.offer("b1", group="b", now=1.0)
    line.offer("a1", group="a", now=1.5)
    assert line.next_due() == 3.0
    line.remove("b1")
    assert line.next_due() == 3.5
    line.offer("a2", group="a", now=1.75)
    assert line.next_due() == 3.5
    line.remove("a1")
    assert line.next_due() == 3.75
    line.remove("a2")
    assert line.next_due() is None
    assert len(line) == 0


class QueueMachine(RuleBasedStateMachine):
    """Any order of events, next to a model that remembers who waits since when and with whom."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue: BatchQueue[int] = BatchQueue(max_batch_size=SIZE, max_wait_s=WAIT_S)
        self.waiting: dict[int, tuple[str, float, int | None]] = {}
        self.gone: set[int] = set()
        self.offered = 0
        self.tickets: list[tuple[Ticket, int]] = []
        self.missing: list[int] = []

    def leave(self, left: tuple[int, ...]) -> None:
        """What left had waited, and every group that left had a reason to."""
        assert list(left) == sorted(set(left))
        for group in {self.waiting[item][0] for item in left}:
            members = [item for item, known in self.waiting.items() if known[0] == group]
            assert set(members) <= set(left)
            parties = [self.waiting[item][2] for item in members]
            assert (
                len(members) == SIZE
                or any(self.now >= self.waiting[item][1] + WAIT_S for item in members)
                or any(party is not None and self.missing[party] == 0 for party in parties)
            )
        for item in left:
            del self.waiting[item]
            self.gone.add(item)

    def use(self, which: int) -> tuple[Ticket, int]:
        ticket, party = self.tickets[which % len(self.tickets)]
        if not ticket.is_used:
            self.missing[party] -= 1
        return ticket, party

    def add(self, group: str, ticket: Ticket | None, party: int | None) -> None:
        self.waiting[self.offered] = (group, self.now, party)
        self.leave(self.queue.offer(self.offered, group=group, now=self.now, ticket=ticket))
        self.offered += 1

    @rule(size=st.integers(0, 4))
    def announce(self, size: int) -> None:
        party = len(self.missing)
        self.tickets += [(ticket, party) for ticket in self.queue.announce(size)]
        self.missing.append(size)

    @rule(group=st.sampled_from("abc"))
    def offer(self, group: str) -> None:
        self.add(group, None, None)

    @precondition(lambda self: self.tickets)
    @rule(group=st.sampled_from("abc"), which=st.integers(0, 99))
    def offer_as_announced(self, group: str, which: int) -> None:
        self.add(group, *self.use(which))

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 99))
    def withdraw(self, which: int) -> None:
        ticket, _party = self.use(which)
        self.leave(self.queue.withdraw(ticket, self.now))

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, WAIT_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.leave(self.queue.due(self.now))

    @precondition(lambda self: self.offered)
    @rule(back=st.integers(0, 5))
    def remove(self, back: int) -> None:
        item = max(0, self.offered - 1 - back)
        assert self.queue.remove(item) == (item in self.waiting)
        if self.waiting.pop(item, None):
            self.gone.add(item)

    @invariant()
    def nobody_waits_without_need(self) -> None:
        for group, since, party in self.waiting.values():
            assert sum(known[0] == group for known in self.waiting.values()) < SIZE
            assert since + WAIT_S > self.now
            assert party is None or self.missing[party] > 0

    @invariant()
    def everybody_is_in_one_place(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert not self.gone & self.waiting.keys()
        assert len(self.gone) + len(self.waiting) == self.offered

    @invariant()
    def the_next_moment_is_known(self) -> None:
        known = [since + WAIT_S for _group, since, _party in self.waiting.values()]
        assert self.queue.next_due() == min(known, default=None)

    def teardown(self) -> None:
        self.now += WAIT_S
        self.leave(self.queue.due(self.now))
        assert not self.waiting


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQueueMachine = QueueMachine.TestCase
