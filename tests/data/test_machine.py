"""A container's limits on cores and memory count where they are below the machine's, in both versions of cgroups."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from bench.data import machine


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Makes a machine of 8 cores, 64 GB and 32 GB free, whose process is in control groups with these files."""
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(machine, "cores", lambda: list(range(8)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64e9, available=32e9))

    def make(membership, files):
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return make


def figures():
    return machine.core_count(), machine.memory_mb(), machine.available_mb()


MACHINE = (8, 64_000, 32_000)


def test_without_control_groups_the_machine_counts(groups):
    assert figures() == MACHINE  # no file at all: not Linux
    groups("0::/\n", {})
    assert figures() == MACHINE


STAT = "anon 3000000000\nactive_file 600000000\ninactive_file 400000000\n"


def test_version_2(groups):
    files = {"cpu.max": "150000 100000\n", "memory.max": "8000000000\n", "memory.current": "4000000000\n"}
    groups("0::/\n", {**files, "memory.stat": STAT})
    assert figures() == (2, 8_000, 5_000)


def test_version_1(groups):
    files = {
        "cpu/box/cpu.cfs_quota_us": "320000\n",
        "cpu/box/cpu.cfs_period_us": "100000\n",
        "memory/box/memory.limit_in_bytes": "8000000000\n",
        "memory/box/memory.usage_in_bytes": "4000000000\n",
        "memory/box/memory.stat": "inactive_file 1\ntotal_active_file 600000000\ntotal_inactive_file 400000000\n",
    }
    groups("5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n", files)
    assert figures() == (4, 8_000, 5_000)


def test_without_a_limit_the_machine_counts(groups):
    groups("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.current": "4000000000\n"})
    assert figures() == MACHINE
    files = {
        "cpu/cpu.cfs_quota_us": "-1\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
        "memory/memory.usage_in_bytes": "4000000000\n",
    }
    groups("5:cpu,cpuacct:/\n4:memory:/\n0::/\n", files)
    assert figures() == MACHINE


def test_the_tightest_of_nested_groups_counts(groups):
    files = {
        "memory.max": "64000000000\n",
        "memory.current": "62000000000\n",
        "a/cpu.max": "200000 100000\n",
        "a/b/cpu.max": "400000 100000\n",
        "a/b/memory.max": "16000000000\n",
        "a/b/memory.current": "1000000000\n",
    }
    groups("0::/a/b\n", files)
    assert figures() == (2, 16_000, 2_000)


def test_the_groups_of_a_container_are_found_where_only_its_own_are_visible(groups):
    groups("0::/docker/0123/../4567\n", {"cpu.max": "300000 100000\n"})
    assert figures()[0] == 3


def test_a_group_over_its_limit_leaves_nothing_and_a_small_quota_is_one_core(groups):
    groups("0::/\n", {"cpu.max": "10000 100000\n", "memory.max": "1000\n", "memory.current": "2000\n"})
    assert figures() == (1, 0.001, 0)


def test_what_is_read_here_is_possible():
    assert 1 <= machine.core_count() <= len(machine.cores())
    assert 0 < machine.available_mb() <= machine.memory_mb() <= psutil.virtual_memory().total / 1e6
    assert math.isfinite(machine.memory_mb())


@pytest.mark.parametrize(
    ("membership", "file"), [("0::/box\n", "box/memory.events"), ("4:memory:/box\n", "memory/box/memory.oom_control")]
)
def test_the_kernel_says_how_many_processes_it_killed_for_memory(groups, monkeypatch, tmp_path, membership, file):
    monkeypatch.setattr(machine, "STATISTICS", tmp_path / "vmstat")
    groups(membership, {file: "oom 9\noom_kill_disable 0\noom_kill 2\n"})
    assert machine.oom_kills() == 2
    (tmp_path / "vmstat").write_text("pgfault 77\noom_kill 3\n")
    assert machine.oom_kills() == 5


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_block_cannot_allocate_more_than_is_available(monkeypatch):
    monkeypatch.setattr(machine, "available_mb", lambda: 100.0)
    with machine.limited_memory():
        assert np.ones(10**6).sum() == 10**6
        with pytest.raises(MemoryError):
            np.ones(10**8)
    assert len(np.ones(10**8, np.bool_)) == 10**8
