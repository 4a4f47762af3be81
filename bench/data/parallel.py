"""Apply a function to many pictures in threads: decoding, resizing and hashing release the interpreter lock."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 16
"""Most threads. Each may hold one decoded picture of `pictures.MOST_PIXELS` in memory."""

BATCH = 8
"""Values that a thread gets at once: handing over takes a tenth of the time of a small picture."""


def ordered(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """Yield results in the order of the values, with a bounded number of them in flight.

    An error of the function is raised in place of its result or shortly before. After an error, or when the caller
    stops early, values that have not started are dropped.
    """
    threads = min(len(usable_cores()), MOST_THREADS)
    remaining = iter(values)
    stopped = threading.Event()

    def work(batch: list[T]) -> list[R]:
        return [function(value) for value in batch if not stopped.is_set()]

    def submit(count: int) -> Iterator[Future[list[R]]]:
        for _ in range(count):
            if batch := list(islice(remaining, BATCH)):
                yield executor.submit(work, batch)

    executor = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    try:
        running = deque(submit(2 * threads))
        while running:
            results = running.popleft().result()
            running.extend(submit(1))
            yield from results
    finally:
        stopped.set()  # at Ctrl-C nobody waits for the rest of a batch
        executor.shutdown(cancel_futures=True)


def usable_cores() -> list[int]:
    """Numbers of the CPU cores that this process may use, sorted."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
