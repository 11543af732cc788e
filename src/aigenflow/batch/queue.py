"""The request queue: who leaves when. Pure: the time is an argument, nothing waits in here.

Requests to the same provider form a group. A group leaves as a whole, by one rule
(:meth:`BatchQueue._leaves`):

* it is full; or
* one of it has waited long enough; or
* everyone who was going to ask together with one of it has asked, or has said they will not.

The last is known only where it was announced. A phase announces its requests as one *party* and
gets a ticket for each; an offer uses its ticket up, a withdrawal too (the answer was in the cache,
the task failed, the run was cancelled). Parties do not wait for each other, but whoever stands in
a group that leaves comes along: so requests of different documents travel together.

Every operation returns the items that leave at that moment, in the order of their arrival.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


@dataclass(slots=True, eq=False)
class Party:
    """Requests that were announced together; ``pending`` of them are still to come."""

    pending: int


@dataclass(slots=True, eq=False)
class Ticket:
    """One announced request. Using a ticket up a second time changes nothing."""

    party: Party
    is_used: bool = False

    def use(self) -> None:
        """The request has come, or never will."""
        if not self.is_used:
            self.is_used = True
            self.party.pending -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting(Generic[ItemT]):
    """An item in the queue. ``number`` counts arrivals; ``due_at`` is in the caller's seconds."""

    item: ItemT
    number: int
    due_at: float
    party: Party | None

    @property
    def misses_nobody(self) -> bool:
        """Whether the whole party is known to have asked. Not announced is not known."""
        return self.party is not None and self.party.pending == 0


class BatchQueue(Generic[ItemT]):
    """Collects items in groups until they leave. ``now`` must never go backwards.

    Nothing stays longer than ``max_wait_s`` (seconds), provided that :meth:`due` is called when
    :meth:`next_due` says. A group never exceeds ``max_batch_size``.
    """

    def __init__(self, *, max_batch_size: int, max_wait_s: float) -> None:
        self._max_batch_size = max_batch_size
        self._max_wait_s = max_wait_s
        self._groups: dict[Hashable, list[_Waiting[ItemT]]] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return sum(len(group) for group in self._groups.values())

    def announce(self, requests: int) -> tuple[Ticket, ...]:
        """Tickets of a new party that is going to send ``requests``."""
        party = Party(pending=requests)
        return tuple(Ticket(party) for _ in range(requests))

    def offer(
        self, item: ItemT, *, group: Hashable, now: float, ticket: Ticket | None = None
    ) -> tuple[ItemT, ...]:
        """Add ``item`` to ``group``, which stands for its provider.

        With a ticket it is a request of that ticket's asker, the first or a later one.
        """
        if ticket is not None:
            ticket.use()
        waiting = _Waiting(
            item=item,
            number=next(self._numbers),
            due_at=now + self._max_wait_s,
            party=None if ticket is None else ticket.party,
        )
        self._groups.setdefault(group, []).append(waiting)
        return self.due(now)

    def withdraw(self, ticket: Ticket, now: float) -> tuple[ItemT, ...]:
        """The ticket's request will not come; the rest of its party need not wait for it."""
        ticket.use()
        return self.due(now)

    def due(self, now: float) -> tuple[ItemT, ...]:
        """Whatever leaves at ``now``."""
        leaving = [key for key, group in self._groups.items() if self._leaves(group, now)]
        batch = [waiting for key in leaving for waiting in self._groups.pop(key)]
        return tuple(waiting.item for waiting in sorted(batch, key=lambda one: one.number))

    def next_due(self) -> float | None:
        """When the next group leaves if nothing else happens; ``None`` where nobody waits."""
        return min((group[0].due_at for group in self._groups.values()), default=None)

    def remove(self, item: ItemT) -> bool:
        """Take ``item`` out, if it is still here, and say whether it was."""
        for key, group in self._groups.items():
            rest = [waiting for waiting in group if waiting.item is not item]
            if len(rest) < len(group):
                self._groups[key] = rest
                if not rest:
                    del self._groups[key]
                return True
        return False

    def _leaves(self, group: list[_Waiting[ItemT]], now: float) -> bool:
        return (
            len(group) >= self._max_batch_size
            or group[0].due_at <= now
            or any(waiting.misses_nobody for waiting in group)
        )
