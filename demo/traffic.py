"""Live traffic: so many requests a second, fewer where the machine cannot keep up."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from core.clock import utc_now
from demo.customers import arrive
from demo.desk import Desk
from demo.world import current

RATE = 50.0
SLOWEST = 5.0
WORKERS = 24
"""Enough for 50 requests a second of 250 ms each, with room."""
OVERSLEEP_S = 0.02
"""A provider's sleep that overshoots by more than this says that the machine is busy: latencies would lie."""
WINDOW = 50


@dataclass
class Pace:
    """The rate that this machine can bear: halving quickly, climbing slowly.

    Judged by how much longer than asked the simulated provider's sleeps take: the same lateness would be in every
    latency that the demo reports, and an overloaded laptop is no fault of the provider.
    """

    target: float = RATE
    rate: float = RATE

    def __post_init__(self) -> None:
        self.late: list[float] = []
        self.lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        """Sleep, and remember how late the waking was."""
        begun = time.perf_counter()
        time.sleep(seconds)
        with self.lock:
            self.late.append(time.perf_counter() - begun - seconds)

    def adapt(self, waiting: int) -> float:
        """Return the rate for now.

        Args:
            waiting: requests that are in hand but not finished.
        """
        with self.lock:
            if len(self.late) < WINDOW and waiting < 2 * WORKERS:
                return self.rate
            late, self.late = sorted(self.late), []
        slow = waiting >= 2 * WORKERS or late[len(late) * 9 // 10] > OVERSLEEP_S
        self.rate = max(SLOWEST, self.rate * 0.7) if slow else min(self.target, self.rate * 1.1)
        return self.rate


def run(desk: Desk, pace: Pace, stop: threading.Event, *, rng: random.Random) -> None:
    """Send requests until told to stop; those in hand are finished."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="customer") as pool:
        due = time.monotonic()
        sent = 0
        while not stop.is_set():
            waiting = sent - desk.tally.served
            due = max(due + rng.expovariate(pace.adapt(waiting)), time.monotonic() - 1)
            if stop.wait(max(0.0, due - time.monotonic())):
                break
            if waiting > 4 * WORKERS:
                continue  # the customer sees a busy line and goes away
            request = arrive(rng, utc_now(), watchlists="watchlist" in current().released)
            sent += 1
            pool.submit(desk.serve, request)
