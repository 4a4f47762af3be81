"""Cores and memory that this process may use: those of the machine, or of its container if that has fewer.

Linux limits a container by control groups: https://docs.kernel.org/admin-guide/cgroup-v2.html, or version 1,
https://docs.kernel.org/admin-guide/cgroup-v1/. psutil and the standard library ignore them; `joblib.cpu_count` uses
only the CPU quota of the outermost group. A MB is 10**6 bytes.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
STATISTICS = Path("/proc/vmstat")


def cores() -> list[int]:
    """Numbers of the CPU cores that this process may run on, sorted."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def core_count() -> int:
    """Number of cores that this process may use; a container's quota of 1.5 cores counts as 2."""
    return max(1, min([len(cores()), *_cpu_quotas()]))


def memory_mb() -> float:
    """Memory of the machine, or of the container."""
    import psutil

    return min([float(psutil.virtual_memory().total), *(limit for limit, _ in _memory_limits())]) / 1e6


def available_mb() -> float:
    """Memory that is still available to this process."""
    import psutil

    return min([float(psutil.virtual_memory().available), *(free for _, free in _memory_limits())]) / 1e6


def oom_kills() -> int:
    """Number of processes that the kernel has killed because memory ran out: in this process's groups, and in all."""
    paths = [group / name for group in _groups("memory") for name in ("memory.events", "memory.oom_control")]
    texts = map(_text, (*paths, STATISTICS))
    return sum(int(count) for text in texts for count in re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE))


@contextmanager
def limited_memory() -> Iterator[None]:
    """Raise MemoryError in the block if it allocates more than is available; only on Linux.

    Source: RLIMIT_DATA in getrlimit(2), which counts private memory, used or not.
    """
    import psutil

    process = psutil.Process()
    if not hasattr(process, "rlimit"):
        yield
        return
    before, most = process.rlimit(psutil.RLIMIT_DATA), int(process.memory_info().data + 1e6 * available_mb())
    process.rlimit(psutil.RLIMIT_DATA, (most if before[0] < 0 else min(before[0], most), before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_DATA, before)


def _cpu_quotas() -> Iterator[int]:
    """CPU quota of each group that has one, in cores, rounded up."""
    for group in _groups("cpu"):
        version_1 = _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        match _numbers(group / "cpu.max") or version_1:
            case quota, period if 0 < quota < math.inf:  # version 1 writes -1 for no quota
                yield math.ceil(quota / period)


def _memory_limits() -> Iterator[tuple[float, float]]:
    """Limit and available memory of each group in bytes; infinity for no limit.

    Pages of files count as available, because the kernel reclaims them when a group needs memory.
    """
    for group in _groups("memory"):
        limit = _numbers(group / "memory.max") or _numbers(group / "memory.limit_in_bytes")
        used = _numbers(group / "memory.current") or _numbers(group / "memory.usage_in_bytes")
        if limit and used:
            yield limit[0], max(0.0, limit[0] - used[0] + _pages_of_files(group))


def _pages_of_files(group: Path) -> float:
    """Bytes of files in memory; in version 1, figures that include inner groups are named `total_…`."""
    words = _text(group / "memory.stat").split()
    figures = dict(zip(words[::2], map(float, words[1::2]), strict=False))
    names = ("active_file", "inactive_file")
    return sum(figures.get(f"total_{name}", figures.get(name, 0.0)) for name in names)


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, from the innermost to the outermost.

    Inside a container the outermost visible group is the container's.
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
    except (OSError, ValueError):  # no such file: outside Linux, outside a group, or another version
        return ""
