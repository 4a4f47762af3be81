"""Memory: what this process has held, and what it could still get. 10**6 bytes."""

from __future__ import annotations

import sys


def peak_rss_mb() -> float:
    """The most that this process has held."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def available_mb() -> float:
    """What a process could still get."""
    import psutil

    return float(psutil.virtual_memory().available) / 1e6
