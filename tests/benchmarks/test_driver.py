"""What the driver adds to a trial: engine, records and database, with a trial that trains nothing.

Run with `pytest tests/benchmarks/test_driver.py --benchmark-only`; `ms_per_trial` is the figure: all the driver's own
work, drawing the page aside. The cost of the trial's process itself is in `test_process.py`.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from bench import data
from bench.config import Budget, RunConfig
from bench.runs import store
from bench.search import families as preparation
from bench.search import shares, spaces
from bench.search.forecast import Forecaster
from bench.search.pace import Pace
from bench.search.progress import SILENT
from bench.search.schedule import Schedule
from bench.search.state import Context, Ledger
from bench.search.stopping import Deadline, SignalStop
from bench.testing import FakePool
from bench.workers import Stop, run_jobs

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
def test_twenty_trials_of_ten_epochs(benchmark, space, tmp_path_factory, engine):
    pool = FakePool(build, lambda family, params: 0.5 + params["dropout"] / 2, epochs=EPOCHS)
    config = RunConfig(images=24, spaces=(space("a"),), engines=(engine,), budget=Budget(TRIALS), epochs=EPOCHS)
    dataset = data.open(config, cache=tmp_path_factory.mktemp("cache"))
    families, _ = preparation.prepare(config, spaces.select(config.spaces), dataset, pool, SILENT)
    with contextlib.ExitStack() as folders:

        def begin():
            target = tmp_path_factory.mktemp("run") / "run"
            folder = folders.enter_context(store.create(replace(config, out=str(target))))
            folder.begin(dataset.info(), dataset.write, [family.info for family in families])
            deadline = Deadline(SignalStop(), Pace(config, folder.run.split, folder.elapsed_s))
            plan, forecaster = shares.make_plan(config, families), Forecaster(config, folder.run.split, families)
            context = Context(engine, config, folder, Ledger(), SILENT, plan, deadline, forecaster)
            return (Schedule(context, families),), {}

        def search_all(schedule):
            return [trial for outcome in run_jobs(pool, schedule.ask, Stop()) for trial in schedule.record(outcome)]

        ended = benchmark.pedantic(search_all, setup=begin, rounds=3, warmup_rounds=1)
    assert [trial.state for trial in ended] == ["COMPLETE"] * TRIALS
    if benchmark.stats:  # none with --benchmark-disable
        benchmark.extra_info["ms_per_trial"] = 1000 * benchmark.stats.stats.median / TRIALS
