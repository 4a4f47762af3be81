"""Cores and memory that this process may use: those of the machine, or of its container where that has fewer.

Linux limits a container by control groups: https://docs.kernel.org/admin-guide/cgroup-v2.html, and
https://docs.kernel.org/admin-guide/cgroup-v1/ where they are of version 1. psutil and Python's own functions know
nothing of them; `joblib.cpu_count` knows the quota of the outermost group, and no memory. 10**6 bytes are a MB.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cores() -> list[int]:
    """Numbers of the CPU cores that this process may run on, sorted."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def core_count() -> int:
    """Number of cores whose time this process may spend: a container's quota of 1.5 cores counts as 2."""
    return max(1, min([len(cores()), *_cpu_quotas()]))


def memory_mb() -> float:
    """Memory of the machine, or of the container."""
    import psutil

    return min([float(psutil.virtual_memory().total), *(limit for limit, _ in _memory_limits())]) / 1e6


def available_mb() -> float:
    """Memory that this process could still get."""
    import psutil

    return min([float(psutil.virtual_memory().available), *(free for _, free in _memory_limits())]) / 1e6


def _cpu_quotas() -> Iterator[int]:
    """Cores whose time each group with a quota may spend, rounded up."""
    for group in _groups("cpu"):
        version_1 = _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        match _numbers(group / "cpu.max") or version_1:
            case quota, period if 0 < quota < math.inf:  # version 1 has a quota of -1 for none
                yield math.ceil(quota / period)


def _memory_limits() -> Iterator[tuple[float, float]]:
    """Bytes that the processes of each group may take in all, and those of them that are left; infinity for no limit.

    The kernel takes the pages of files back when a group needs memory, and so they count as left.
    """
    for group in _groups("memory"):
        limit = _numbers(group / "memory.max") or _numbers(group / "memory.limit_in_bytes")
        used = _numbers(group / "memory.current") or _numbers(group / "memory.usage_in_bytes")
        if limit and used:
            yield limit[0], max(0.0, limit[0] - used[0] + _pages_of_files(group))


def _pages_of_files(group: Path) -> float:
    """Bytes of files in memory; in version 1 the names of figures that count inner groups begin with `total_`."""
    words = _text(group / "memory.stat").split()
    figures = dict(zip(words[::2], map(float, words[1::2]), strict=False))
    names = ("active_file", "inactive_file")
    return sum(figures.get(f"total_{name}", figures.get(name, 0.0)) for name in names)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, from the innermost to the outermost.

    Inside a container the outermost one is the container's; inner ones need not be visible.
    """
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = GROUPS / controller if controllers else GROUPS
        group = root / name.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root))


def _numbers(path: Path) -> list[float]:
    return [math.inf if word == "max" else float(word) for word in _text(path).split()]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):  # there is no such file outside Linux, outside a group, or in the other version
        return ""
