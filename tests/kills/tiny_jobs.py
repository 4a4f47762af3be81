"""Jobs of a few milliseconds without TensorFlow, for real worker processes: the fork server imports this file first.

It also is a driver: `python tiny_jobs.py run FOLDER TRIALS [ENGINE [WORKERS]]` and `resume FOLDER` print a line for
every ended trial. The trials go to the storage that `BENCH_STORAGE` names, else to the folder.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import numpy as np

from bench.testing import FakePool


def build(hp, family):
    hp.Int("depth", 1, 9)
    hp.Float("rate", 1e-4, 1e-1, sampling="log")


def score(family, params):
    """Train for some milliseconds: a trial that takes no time is hardly ever in flight."""
    generator = np.random.default_rng(params["depth"])
    for _ in range(20):
        np.linalg.svd(generator.random((40, 40)))
    return 0.4 + 0.03 * params["depth"] + params["rate"]


def run(job, channel):
    """Do what `bench.training.jobs.run` does."""
    return FakePool(build, score, epochs=2)._run(job, channel)


def replace_training() -> None:
    """Stand in for the modules that would load TensorFlow."""
    threading = types.SimpleNamespace(
        set_intra_op_parallelism_threads=lambda count: None, set_inter_op_parallelism_threads=lambda count: None
    )
    config = types.SimpleNamespace(threading=threading, list_physical_devices=lambda kind: [])
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    sys.modules["tensorflow"].config = config
    sys.modules["bench.training.jobs"] = sys.modules[__name__]


def main(command: str, folder: str, trials: str = "0", engine: str = "optuna:tpe", workers: str = "1") -> int:
    from bench import Budget, RunConfig, runner
    from bench.errors import Interrupted
    from bench.runs.optuna_storage import STORAGE
    from bench.search.progress import Progress
    from bench.workers import local

    class Printed(Progress):
        def trial_ended(self, trial, best):
            print(f"{trial.name} {trial.value}", flush=True)

    local.PRELOAD[:] = [Path(__file__).stem]
    try:
        if command == "run":
            spaces = tuple(str(path) for path in sorted(Path("spaces").iterdir()))
            storage = os.environ.get(STORAGE, "")
            budget = Budget(int(trials))
            where = {"out": folder, "storage": storage}
            config = RunConfig(images=24, spaces=spaces, engines=engine, budget=budget, workers=workers, **where)
            runner.run(config, Printed())
        else:
            runner.resume(Path(folder), progress=Printed())
    except Interrupted as error:
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
else:
    replace_training()
