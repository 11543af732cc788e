"""The money of batch jobs: set aside at the discounted rate, and settled on whatever day."""

from __future__ import annotations

from collections.abc import Callable

from aigenflow.agents.metering import Meter
from aigenflow.core.errors import GatewayError
from aigenflow.core.jobs import ItemOutcome
from aigenflow.core.models import AgentRequest, GatewayResponse, Route, ServedFrom
from aigenflow.monitoring.models import Waste


class MeteredJobs:
    """Keeps the books of a :class:`~aigenflow.batch.jobs.JobDesk`."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    async def reserve(self, request: AgentRequest, route: Route) -> str:
        """Set the worst case of an item aside; return the reservation's id.

        Raises as :meth:`~aigenflow.agents.metering.Meter.reserve`.
        """
        reservation, _foreseen = await self._meter.reserve(request, route, ServedFrom.BATCH)
        return reservation.id

    async def hand_over(self, reservation: str, job: str) -> None:
        """Let the job answer for the money from now on."""
        await self._meter.hand_over(reservation, job)

    async def settle(
        self, reservation: str, request: AgentRequest, route: Route, outcome: ItemOutcome
    ) -> ItemOutcome:
        """Write down what an item cost, once; return its outcome with the cost.

        One that a run without books has bought is written under its own id.
        """
        reservation = reservation or outcome.id
        error = outcome.error
        response = outcome.response or (error.response if error else None)
        if response is not None:
            paid = await self._meter.settle(reservation, request, route, response)
            return _with_answer(outcome, paid)
        if error is not None and error.possibly_billed:
            foreseen = self._meter.foresee(request, route, ServedFrom.BATCH)
            await self._meter.lose(reservation, request, route, foreseen)
        else:
            await self._meter.release(reservation)
        return outcome

    async def waste(
        self, call_id: str, request: AgentRequest, route: Route, response: GatewayResponse
    ) -> None:
        """Write down an answer that a job submitted twice has bought again."""
        paid = await self._meter.settle(call_id, request, route, response)
        await self._meter.wasted(paid, Waste.DISCARDED)

    async def release(self, reservation: str) -> None:
        """Set the money of an item free that no provider has."""
        await self._meter.release(reservation)


class UnmeteredJobs:
    """Buys without books, and still settles in the ledger what an earlier run set aside there.

    ``open_meter`` is called when the first of it is met.
    """

    def __init__(self, open_meter: Callable[[], Meter]) -> None:
        self._open_meter = open_meter
        self._meter: Meter | None = None

    async def reserve(self, request: AgentRequest, route: Route) -> str:
        """Nothing is set aside."""
        return ""

    async def hand_over(self, reservation: str, job: str) -> None:
        """As :meth:`MeteredJobs.hand_over`, where there is a reservation."""
        if reservation:
            await self._books.hand_over(reservation, job)

    async def settle(
        self, reservation: str, request: AgentRequest, route: Route, outcome: ItemOutcome
    ) -> ItemOutcome:
        """As :meth:`MeteredJobs.settle`, where there is a reservation."""
        if not reservation:
            return outcome
        return await self._books.settle(reservation, request, route, outcome)

    async def waste(
        self, call_id: str, request: AgentRequest, route: Route, response: GatewayResponse
    ) -> None:
        """Nothing is written of what no reservation was made for."""

    async def release(self, reservation: str) -> None:
        """As :meth:`MeteredJobs.release`, where there is a reservation."""
        if reservation:
            await self._books.release(reservation)

    async def aclose(self) -> None:
        """Close the ledger, if it was opened."""
        if self._meter is not None:
            await self._meter.aclose()

    @property
    def _books(self) -> MeteredJobs:
        if self._meter is None:
            self._meter = self._open_meter()
        return MeteredJobs(self._meter)


def _with_answer(outcome: ItemOutcome, response: GatewayResponse) -> ItemOutcome:
    error: GatewayError | None = outcome.error
    if error is None:
        return ItemOutcome(id=outcome.id, response=response)
    error.response = response
    return outcome
