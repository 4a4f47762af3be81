"""`bench export`: the model of a trial as a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.options import add_storage, run_folder, written
from bench.metrics import metric
from bench.records import Trial
from bench.text import figure, metric_name, plain

SUMMARY = "a trial's model as a .keras file; trained again from the record if the run did not keep it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder")
    add_storage(parser)
    parser.add_argument(
        "trial",
        metavar="TRIAL",
        help="a family, for its chosen trial, or FAMILY/ENGINE#NUMBER as on the page, e.g. cnn/optuna:tpe#3",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="default FAMILY.keras or FAMILY-ENGINE-NUMBER.keras in the current folder"
    )
    parser.add_argument("--quiet", action="store_true", help="print only the path of the model")


def run(options: argparse.Namespace) -> int:
    """Copy or train the model, and print how to use it."""
    from bench.cli.console import progress_on_stderr
    from bench.deploy import export
    from bench.runs import store

    record = store.load(run_folder(options.run), options.storage)
    trial = export.find(record, options.trial)
    stem = f"{trial.family}-{trial.engine.replace(':', '-')}-{trial.number}" if "/" in options.trial else trial.family
    out = Path(options.out or f"{stem}.keras")
    with progress_on_stderr(options.quiet) as progress, written(out):
        value = export.export(record, trial, out, progress)
    if not options.quiet:
        print(_outcome(value, trial) + (f"; {trial.note}" if trial.cut else ""))
        print(f'use it: keras.saving.load_model("{out}") takes RGB pixels, 0 to 255, as (n, size, size, 3)')
    print(out)
    return 0


def _outcome(value: float | None, trial: Trial) -> str:
    if value is None:
        return "copied the model of the run"
    by = metric(trial.metric)
    same = "as recorded" if value == trial.value else f"recorded: {plain(figure(trial.value, by))}"
    return f"trained again: {plain(figure(value, by))} validation {metric_name(by)}, {same}"
