"""Keeping the money: every call in the ledger, and no call that a budget has no room for.

The life of a call's money::

    reserve(worst case)  ->  call  ->  settle(usage)     the answer came: one row, money set free
                                   ->  release()         nothing was bought: money set free
                                   ->  (killed)          stays reserved, listed, until reconcile()

Each arrow is one exclusive transaction, so the promise holds across threads, processes and, with
PostgreSQL, machines. Rows and reservations are durable before a method returns; those where no
money moves (cache hits, local servers) survive the death of the process but perhaps not a power
cut.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from gettext import gettext as _
from typing import Generic, TypeVar

from aigenflow.core.clock import Clock, SystemClock
from aigenflow.core.db import Database, DatabaseError, Query, Transaction, open_database
from aigenflow.core.errors import AigenflowError, ConfigError, InputError, JournalWriteError
from aigenflow.core.models import TokenUsage
from aigenflow.monitoring import ledger
from aigenflow.monitoring.budget import calendar_day, due_alerts, refusal, shortfalls, windows
from aigenflow.monitoring.models import (
    ZERO,
    Account,
    Alert,
    BudgetLimits,
    Calibration,
    CallDetails,
    Dimension,
    Estimate,
    EstimateReview,
    OnExceed,
    OpenReservation,
    Owner,
    Purpose,
    Reservation,
    Totals,
    Waste,
)
from aigenflow.monitoring.owners import current_owner, state_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NO_DETAILS = CallDetails()


@dataclass(frozen=True, slots=True)
class Operation(Generic[T_co]):
    """One change of the ledger: ``run`` makes it inside a transaction.

    An operation that refuses (an ``AigenflowError``) has changed nothing.
    """

    run: Callable[[Transaction], T_co]
    durable: bool = True


class TokenTracker:
    """The usage ledger and its budgets. Safe to use from several threads; blocks on the disk.

    Writing raises :class:`~aigenflow.core.errors.JournalWriteError` where the ledger cannot be
    made durable: nothing more may then be bought. Reading raises a
    :class:`~aigenflow.core.errors.ConfigError`.
    """

    def __init__(
        self,
        database: Database,
        limits: BudgetLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.limits = limits or BudgetLimits()
        self._database = database
        self._clock = clock or SystemClock()
        self._owner = current_owner()

    @classmethod
    def open(
        cls, url: str, limits: BudgetLimits | None = None, clock: Clock | None = None
    ) -> TokenTracker:
        """Open the ledger at a database URL and make its tables where there are none.

        Raises :class:`~aigenflow.core.errors.ConfigError`.
        """
        with _reading():
            database = open_database(url)
            try:
                ledger.prepare(database)
            except BaseException:  # a ledger that cannot be used is not left open
                database.close()
                raise
        return cls(database, limits, clock)

    def close(self) -> None:
        """Close the ledger."""
        self._database.close()

    # Writing

    def track(
        self,
        usage: TokenUsage,
        *,
        call_id: str | None = None,
        details: CallDetails = _NO_DETAILS,
    ) -> tuple[Alert, ...]:
        """Write one call that needed no reservation: a cache hit, or a call already made.

        A ``call_id`` is written once, whatever is retried or resumed. Returns the budget
        thresholds that this call was the first to reach.
        """
        return self.commit(self.tracking(usage, call_id=call_id, details=details))

    def reserve(
        self, estimate: Estimate, purpose: Purpose, *, allow_unpriced: bool = False
    ) -> Reservation:
        """Set the worst case of a call aside, before it is made.

        Raises :class:`~aigenflow.core.errors.BudgetExceededError` naming the budget (a
        :class:`~aigenflow.monitoring.budget.RingFencedError` where the rest is kept for later
        phases), and ``ConfigError`` where the price is not known and ``allow_unpriced`` is false.
        """
        return self.commit(self.reserving(estimate, purpose, allow_unpriced=allow_unpriced))

    def settle(
        self,
        reservation: Reservation | str,
        usage: TokenUsage,
        *,
        details: CallDetails = _NO_DETAILS,
    ) -> tuple[Alert, ...]:
        """Write a reserved call and set its money free, together.

        ``reservation`` may be an id, so that another process can settle a batch job. Settling
        again changes nothing. The row is also written where the reservation is gone, so that a
        paid call is never lost. Returns the thresholds that this call was the first to reach.
        """
        return self.commit(self.settling(reservation, usage, details=details))

    def release(self, reservation: Reservation | str) -> None:
        """Set the money of a call free that bought nothing. Releasing again changes nothing."""
        self.commit(self.releasing(reservation))

    def hand_over(self, reservation: Reservation | str, job: str) -> None:
        """Let a batch job answer for a reservation from now on, whatever this process does."""
        self.commit(self.handing_over(reservation, job))

    def mark_wasted(self, call_ids: Sequence[str], waste: Waste) -> None:
        """Say why these calls bought nothing that was used; the last reason counts."""
        self.commit(self.marking_wasted(call_ids, waste))

    def reconcile(self, reservation_id: str, billed: Decimal | None = None) -> None:
        """Close a reservation whose process died: what it paid is booked as lost.

        ``billed`` is what the provider charged, in dollars; by default the worst case, marked as
        an estimate. Zero says that nothing was charged.

        Raises :class:`~aigenflow.core.errors.InputError` where no such reservation is open.
        """

        def run(tx: Transaction) -> None:
            held = ledger.take_reservation(tx, reservation_id)
            if held is None:
                raise InputError(
                    _("No reservation {id} is open.").format(id=reservation_id),
                    hint=_("List the open ones; it may have been settled meanwhile."),
                )
            if billed != 0:
                details = CallDetails(waste=Waste.LOST, price_is_estimate=billed is None)
                self._append(tx, held.id, _lost_call(held, billed), details, held.day)

        self.commit(Operation(run))

    def write_off(self, owner: Owner) -> int:
        """:meth:`reconcile` all that a process reserved that is gone; return how many it was."""
        held = [one for one in self.open_reservations() if one.owner == owner]
        lost = [one for one in held if not one.purpose.job]
        for one in lost:
            with contextlib.suppress(InputError):  # settled meanwhile
                self.reconcile(one.id)
        return len(lost)

    # The same as operations, for whoever commits several together

    def tracking(
        self,
        usage: TokenUsage,
        *,
        call_id: str | None = None,
        details: CallDetails = _NO_DETAILS,
    ) -> Operation[tuple[Alert, ...]]:
        """:meth:`track`, still to be committed."""
        when = usage.when or self._clock.now()
        dated = replace(usage, when=when)
        day = calendar_day(when, self.limits.zone)
        return Operation(
            lambda tx: self._append(tx, call_id or _new_id(), dated, details, day),
            durable=usage.billed_cost != 0,
        )

    def reserving(
        self, estimate: Estimate, purpose: Purpose, *, allow_unpriced: bool = False
    ) -> Operation[Reservation]:
        """:meth:`reserve`, still to be committed."""
        if estimate.worst is None and not allow_unpriced:
            # Here, because who only reads the ledger needs no prices.
            from aigenflow.monitoring.price_book import unknown_price

            raise unknown_price(purpose.model or purpose.provider)
        now = self._clock.now()
        row = ledger.ReservationRow(
            id=_new_id(),
            when=now,
            day=calendar_day(now, self.limits.zone),
            purpose=purpose,
            amount=estimate.worst or ZERO,
            estimate=estimate,
            owner=self._owner,
        )

        def run(tx: Transaction) -> Reservation:
            accounts = self._accounts(tx.execute, row.day, purpose.session, purpose.phase)
            short = shortfalls(accounts, row.amount, purpose.phase, self.limits.ring_fence)
            if short and self.limits.on_exceed is OnExceed.STOP:
                raise refusal(short[0])
            ledger.add_reservation(tx, row)
            return Reservation(id=row.id, amount=row.amount, shortfalls=short)

        return Operation(run, durable=estimate.worst != 0)

    def settling(
        self,
        reservation: Reservation | str,
        usage: TokenUsage,
        *,
        details: CallDetails = _NO_DETAILS,
    ) -> Operation[tuple[Alert, ...]]:
        """:meth:`settle`, still to be committed."""
        when = usage.when or self._clock.now()
        dated = replace(usage, when=when)
        today = calendar_day(when, self.limits.zone)

        def run(tx: Transaction) -> tuple[Alert, ...]:
            held = ledger.take_reservation(tx, _id_of(reservation))
            estimate = details.estimate or (held.estimate if held else None)
            known = replace(details, estimate=estimate)
            day = held.day if held else today
            return self._append(tx, _id_of(reservation), dated, known, day)

        return Operation(run, durable=usage.billed_cost != 0)

    def releasing(self, reservation: Reservation | str) -> Operation[None]:
        """:meth:`release`, still to be committed."""

        def run(tx: Transaction) -> None:
            ledger.take_reservation(tx, _id_of(reservation))

        return Operation(run)

    def marking_wasted(self, call_ids: Sequence[str], waste: Waste) -> Operation[None]:
        """:meth:`mark_wasted`, still to be committed."""

        def run(tx: Transaction) -> None:
            for call_id in call_ids:
                ledger.mark_wasted(tx, call_id, waste)

        return Operation(run)

    def handing_over(self, reservation: Reservation | str, job: str) -> Operation[bool]:
        """:meth:`hand_over`, still to be committed."""
        return Operation(lambda tx: ledger.hand_over(tx, _id_of(reservation), job))

    def commit(self, operation: Operation[T]) -> T:
        """Make one change of the ledger, in a transaction of its own."""
        with self._writing(durable=operation.durable) as tx:
            return operation.run(tx)

    def commit_together(self, operations: Sequence[Operation[T]]) -> list[T | AigenflowError]:
        """Make many changes in one transaction: one wait for the disk.

        Returns, in order, what each gave or the error it was refused with. An operation that the
        database will not take does not harm the others: they are then made one by one.
        """
        try:
            with self._writing(durable=any(one.durable for one in operations)) as tx:
                return [_outcome(one, tx) for one in operations]
        except JournalWriteError as error:
            if len(operations) == 1:
                return [error]
        return [outcome for one in operations for outcome in self.commit_together([one])]

    # Reading

    def accounts(self, session: str = "", phase: int = 0) -> tuple[Account, ...]:
        """Today's budgets, as a call of that session and phase would find them."""
        day = calendar_day(self._clock.now(), self.limits.zone)
        with _reading():
            return self._accounts(self._database.query, day, session, phase)

    def totals(
        self,
        by: Dimension | None = None,
        *,
        first: date | None = None,
        last: date | None = None,
        session: str | None = None,
        dearest: int | None = None,
    ) -> list[Totals]:
        """Exact sums per key of ``by``, over days ``first`` to ``last``, both included.

        ``dearest`` leaves out all but that many keys.
        """
        with _reading():
            return ledger.totals(self._database, by, first, last, session, dearest)

    def count_sessions(self, first: date | None = None, last: date | None = None) -> int:
        """How many sessions have calls on those days, both included."""
        with _reading():
            return ledger.count_sessions(self._database, first, last)

    def review(self, session: str) -> EstimateReview:
        """Estimate against actual for a session."""
        with _reading():
            return ledger.review(self._database, session)

    def calibration(self, model: str) -> Calibration:
        """Bytes sent against input tokens billed, for a model."""
        with _reading():
            return ledger.calibration(self._database, model)

    def open_reservations(self) -> list[OpenReservation]:
        """Reservations neither settled nor released, oldest first, and who answers for each."""
        here = socket.gethostname()
        with _reading():
            rows = ledger.reservations(self._database)
        return [
            OpenReservation(
                id=row.id,
                amount=row.estimate.worst,
                when=row.when,
                purpose=row.purpose,
                owner=row.owner,
                state=state_of(row.owner, row.purpose.job, here),
            )
            for row in rows
        ]

    def today(self) -> date:
        """The day on the user's calendar."""
        return calendar_day(self._clock.now(), self.limits.zone)

    # One transaction's parts

    def _append(
        self, tx: Transaction, call_id: str, usage: TokenUsage, details: CallDetails, day: date
    ) -> tuple[Alert, ...]:
        when = usage.when or self._clock.now()
        if not ledger.append(tx, call_id, usage, details, when, day) or not usage.billed_cost:
            return ()
        accounts = self._accounts(tx.execute, day, usage.session, usage.phase)
        told = ledger.told_alerts(tx, [account.window for account in accounts])
        alerts = due_alerts(accounts, self.limits.thresholds, told)
        for alert in alerts:
            ledger.remember_alert(tx, alert, when)
        return alerts

    def _accounts(self, query: Query, day: date, session: str, phase: int) -> tuple[Account, ...]:
        return tuple(
            ledger.account(query, window) for window in windows(self.limits, day, session, phase)
        )

    @contextlib.contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[Transaction]:
        try:
            with self._database.transaction(durable=durable) as tx:
                yield tx
        except DatabaseError as error:
            raise JournalWriteError(
                _("The usage ledger cannot be written: {problem}").format(problem=error),
                hint=_("Nothing more is bought until it can. Free some space, then resume."),
            ) from error


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise ConfigError(
            _("The usage ledger cannot be read: {problem}").format(problem=error),
            hint=_("Check the ledger's address, its permissions, and that the disk has room."),
        ) from error


def _new_id() -> str:
    return secrets.token_hex(16)


def _id_of(reservation: Reservation | str) -> str:
    return reservation if isinstance(reservation, str) else reservation.id


def _outcome(operation: Operation[T], tx: Transaction) -> T | AigenflowError:
    try:
        return operation.run(tx)
    except AigenflowError as refused:
        return refused


def _lost_call(held: ledger.ReservationRow, billed: Decimal | None) -> TokenUsage:
    return TokenUsage(
        provider=held.purpose.provider,
        model=held.purpose.model,
        phase=held.purpose.phase,
        task=held.purpose.task,
        session=held.purpose.session,
        input_tokens=0,
        output_tokens=0,
        billed_cost=held.estimate.worst if billed is None else billed,
        waste=True,
        when=held.when,
    )
