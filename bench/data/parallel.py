"""One function over many pictures, in threads: Pillow and hashlib let go of the interpreter lock while they work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 16
"""Each thread may hold one decoded picture, up to `pictures.MOST_PIXELS`: more threads would ask for more memory."""


def ordered(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """Results in the order of the values, with a bounded number of them in flight.

    An error of the function is raised at its place; what has not started by then is dropped.
    """
    threads = min(cores(), MOST_THREADS)
    remaining = iter(values)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    try:
        running: deque[Future[R]] = deque(executor.submit(function, each) for each in islice(remaining, 8 * threads))
        while running:
            yield running.popleft().result()
            running.extend(executor.submit(function, each) for each in islice(remaining, 1))
    finally:
        executor.shutdown(cancel_futures=True)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
