"""Workers have equal shares of the cores, and no core has more work than another by more than one trial."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.data import machine
from bench.workers.local import core_shares


@pytest.fixture
def cores(monkeypatch):
    """Gives the machine so many cores, and the container a quota."""

    def have(count, quota=None):
        monkeypatch.setattr(machine, "cores", lambda: list(range(count)))
        monkeypatch.setattr(machine, "core_count", lambda: quota or count)

    return have


@pytest.mark.parametrize(
    ("count", "workers", "shares"),
    [
        (2, 4, [(0,), (0,), (1,), (1,)]),
        (2, 3, [(0,), (0,), (1,)]),
        (4, 2, [(0, 1), (2, 3)]),
        (3, 2, [(0, 1), (1, 2)]),
        (1, 3, [(0,), (0,), (0,)]),
    ],
)
def test_the_shares_of_a_few_machines(cores, count, workers, shares):
    cores(count)
    assert core_shares(workers) == shares


@pytest.mark.parametrize("count", range(1, 12))
def test_shares_are_equal_and_cover_every_core_evenly(cores, count):
    cores(count)
    for workers in range(1, 20):
        shares = core_shares(workers)
        load = Counter(core for share in shares for core in share)
        assert len(shares) == workers
        assert len({len(share) for share in shares}) == 1
        assert set(load) == set(range(count))
        assert max(load.values()) - min(load.values()) <= 1


def test_a_quota_limits_the_cores_and_two_containers_do_not_take_the_same(cores):
    cores(64, quota=2)
    drawn = [core_shares(4) for _ in range(20)]
    for shares in drawn:
        assert Counter(Counter(share for share in shares).values()) == {2: 2}
    assert len({shares[0] for shares in drawn}) > 1
