"""What the driver adds to a trial: engine, records and database, with a trial that trains nothing.

Run with `pytest tests/benchmarks/test_driver.py --benchmark-only`; `ms_per_trial` is the figure: all the driver's own
work, drawing the page aside. Of that, only what is not in `ms_written_per_trial` holds up a trial, for the driver
writes while the next one's process starts. What that process itself costs is in `test_process.py`.
"""

from __future__ import annotations

import contextlib
import time

import pytest

from bench import data
from bench.config import Budget, RunConfig
from bench.runs import store
from bench.search import families as preparation
from bench.search import spaces
from bench.search.ledger import Ledger
from bench.search.listener import Context
from bench.search.progress import Progress
from bench.search.schedule import Search
from bench.testing import FakePool

pytestmark = pytest.mark.slow

TRIALS = 20
EPOCHS = 10


def build(hp, family):
    """As many hyperparameters as a transfer family has."""
    hp.Choice("input_size", [96, 128])
    hp.Int("frozen_layers", 0, 150)
    hp.Float("dropout", 0.0, 0.6)
    hp.Choice("optimizer", ["adam", "rmsprop", "sgd"])
    hp.Choice("batch_size", [16, 32, 64])
    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")


@pytest.mark.parametrize("engine", ["optuna:random", "optuna:tpe"])
def test_twenty_trials_of_ten_epochs(benchmark, space, tmp_path_factory, monkeypatch, engine):
    pool = FakePool(build, lambda family, params: 0.5 + params["dropout"] / 2, epochs=EPOCHS)
    config = RunConfig(images=24, spaces=(space("a"),), engines=(engine,), budget=Budget(TRIALS), epochs=EPOCHS)
    dataset = data.open(config, cache=tmp_path_factory.mktemp("cache"))
    families, _ = preparation.prepare(config, spaces.select(config.spaces), dataset, pool, Progress())
    written_s = []
    write = store.RunFolder.write_trials

    def timed(folder):
        begun = time.perf_counter()
        write(folder)
        written_s.append(time.perf_counter() - begun)

    monkeypatch.setattr(store.RunFolder, "write_trials", timed)
    with contextlib.ExitStack() as folders:

        def begin():
            target = tmp_path_factory.mktemp("run") / "run"
            made = store.create(config, target, dataset.info(), dataset.write, [each.info for each in families])
            folder = folders.enter_context(made)
            return (Search(Context(engine, config, folder, Ledger(), Progress()), families, pool),), {}

        def search_all(search):
            ended = []
            while search.submit():
                ended += search.wait()
            return ended

        ended = benchmark.pedantic(search_all, setup=begin, rounds=3, warmup_rounds=1)
    assert [trial.state for trial in ended] == ["COMPLETE"] * TRIALS
    if benchmark.stats:  # none with --benchmark-disable
        benchmark.extra_info["ms_per_trial"] = 1000 * benchmark.stats.stats.median / TRIALS
        benchmark.extra_info["ms_written_per_trial"] = 1000 * sum(written_s) / len(written_s)
