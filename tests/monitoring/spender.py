"""A program that spends from a ledger in many processes, or dies with money reserved.

``spender.py URL compete PROCESSES CALLS CAP`` prints how many calls were made.
``spender.py URL die`` reserves 75 cents and kills itself.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from decimal import Decimal

from aigenflow.core.errors import BudgetExceededError
from aigenflow.core.models import TokenUsage
from aigenflow.monitoring.models import BudgetLimits, Estimate, Purpose
from aigenflow.monitoring.tracker import TokenTracker


def estimate(dollars: str) -> Estimate:
    amount = Decimal(dollars)
    return Estimate(bytes_sent=0, input_tokens=0, output_tokens=0, expected=amount, worst=amount)


def work(url: str, calls: int, cap: Decimal) -> int:
    """Make calls that cost 2 to 10 cents, each with 10 cents reserved."""
    dice = random.Random(os.getpid())
    tracker = TokenTracker.open(url, BudgetLimits(monthly_usd=cap))
    made = 0
    for _ in range(calls):
        try:
            held = tracker.reserve(estimate("0.10"), Purpose(provider="claude", session="s"))
        except BudgetExceededError:
            continue
        cost = Decimal(dice.randint(20, 100)).scaleb(-3)
        tracker.settle(
            held,
            TokenUsage(
                provider="claude", input_tokens=1, output_tokens=1, session="s", billed_cost=cost
            ),
        )
        made += 1
    tracker.close()
    return made


def compete(url: str, processes: int, calls: int, cap: Decimal) -> int:
    """Fork, let every child work, and add up what they made."""
    reading, writing = os.pipe()
    for _ in range(processes):
        if os.fork() == 0:
            try:
                os.write(writing, bytes([work(url, calls, cap)]))
            finally:
                os._exit(0)
    os.close(writing)
    for _ in range(processes):
        os.wait()
    counts = b""
    while chunk := os.read(reading, 1024):
        counts += chunk
    if len(counts) != processes:
        raise SystemExit(f"only {len(counts)} of {processes} processes finished")
    return sum(counts)


def die(url: str) -> None:
    tracker = TokenTracker.open(url)
    tracker.reserve(estimate("0.75"), Purpose(provider="claude", session="s"))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[2] == "die":
        die(sys.argv[1])
    else:
        print(compete(sys.argv[1], int(sys.argv[3]), int(sys.argv[4]), Decimal(sys.argv[5])))
