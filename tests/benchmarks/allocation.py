"""Compare allocations of a time budget by replay: `python -m tests.benchmarks.allocation`.

Every policy searches the recorded families (`recorded.json`) under the same budgets with the same seeds. The tables are
those of docs/allocation.md, and `--figure FILE` draws its figure: the mean regret over the runs, by time.
"""

from __future__ import annotations

import argparse
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from unittest import mock

from markupsafe import Markup

from bench import Budget, RunConfig
from bench.records import COMPLETE, Run, SearchPlan
from bench.report import svg
from bench.report.styles import Mark
from bench.search.state import StudyState
from bench.testing.replay import Recording, simulate

from .record import RECORDED


@dataclass(frozen=True)
class Policy:
    """An allocation of the budget, for a simulation.

    Attributes:
        allocation: One of `config.ALLOCATIONS`.
        by_trial: True if families get the same number of trials, not of seconds.
        in_file_order: True if families come in the order of `spaces.ORDER`, not the cheapest first.
        screened: True if all backbones are screened first, whatever it takes.
    """

    allocation: str = "even"
    by_trial: bool = False
    in_file_order: bool = False
    screened: bool = False

    @contextmanager
    def used(self) -> Iterator[None]:
        """Search with this policy inside."""
        with ExitStack() as patches:
            if self.by_trial:
                patches.enter_context(mock.patch("bench.search.schedule.evenly", by_trial))
            if self.in_file_order:
                patches.enter_context(mock.patch("bench.search.shares.cheapest_first", lambda families, _: families))
            if self.screened:
                patches.enter_context(mock.patch("bench.search.screening.WORTHWHILE", 0.0))
            yield


def by_trial(studies: Sequence[StudyState], plan: SearchPlan) -> list[StudyState]:
    """Sort studies by their number of trials, also under a time budget."""
    return sorted(studies, key=lambda study: study.trials)


FORMER = "even by time, in the order of files"
"""The allocation before families were sorted by their forecasts, with which the others are compared."""

POLICIES = {
    "even by trial, in the order of files": Policy(by_trial=True, in_file_order=True),
    FORMER: Policy(in_file_order=True),
    "even by time": Policy(),
    "adaptive": Policy("adaptive"),
    "adaptive, all backbones screened": Policy("adaptive", screened=True),
}

EPOCHS = 6
"""Maximum number of epochs of the recorded trials."""

REACHED = 0.99
"""Share of the final accuracy whose time is compared."""

POINTS = 200
"""Number of points of a line in the figure."""

MAX_REGRET = 0.1
"""Largest regret in the figure."""

STROKES = (("#8a8a8a", "dot"), ("#c2571a", "dash"), ("#7a4fb5", "dashdot"), ("#1668b8", "solid"), ("#0f8a5f", "solid"))
"""Colour and dash of each policy, in the order of `POLICIES`."""

STYLE = (
    "<style>svg{background:#fff}text{font:10px sans-serif;fill:#333}.axis{stroke:#333}.grid{stroke:#ddd}"
    "polyline{stroke-width:2}</style>"
)

FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Fractions of the budget at which the regret is shown."""


@dataclass(frozen=True)
class Curve:
    """The best validation accuracy of a run by time: the times of its improvements, and the accuracy from then on."""

    times_s: tuple[float, ...]
    best: tuple[float, ...]

    def at(self, time_s: float) -> float:
        """Return the best accuracy at a time; 0 before the first complete trial."""
        place = bisect_right(self.times_s, time_s)
        return self.best[place - 1] if place else 0.0

    def reaches_s(self, accuracy: float) -> float:
        """Return the time at which an accuracy is reached; infinite if it is not."""
        reached = (time_s for time_s, best in zip(self.times_s, self.best, strict=True) if best >= accuracy)
        return next(reached, math.inf)


def curve(run: Run) -> Curve:
    """Return the curve of a run of one engine and one worker, by the time since its start."""
    times: list[float] = []
    best: list[float] = []
    for trial in run.trials:
        if trial.state == COMPLETE and trial.value is not None and trial.value > (best[-1] if best else -1.0):
            times.append(trial.finished_s or 0.0)
            best.append(trial.value)
    return Curve(tuple(times), tuple(best))


def search(recording: Recording, policy: Policy, seconds: float, seed: int, engine: str) -> Curve:
    """Simulate one run with a policy."""
    config = RunConfig(
        engines=(engine,), budget=Budget(None, seconds), seed=seed, allocation=policy.allocation, epochs=EPOCHS
    )
    with policy.used():
        return curve(simulate(replace(recording, screenings=()) if policy.allocation == "even" else recording, config))


def compare(
    recording: Recording, policies: Mapping[str, Policy], seconds: float, seeds: int, engine: str
) -> dict[str, list[Curve]]:
    """Simulate runs with all policies and so many seeds; return their curves, one per seed."""
    return {
        name: [search(recording, policy, seconds, seed, engine) for seed in range(seeds)]
        for name, policy in policies.items()
    }


def best_recorded(recording: Recording) -> float:
    """Return the highest validation accuracy of a recording."""
    return max(trial.value for trial in recording.trials if trial.value is not None)


def times_to_reach(curves: Mapping[str, Sequence[Curve]], finals: Sequence[float]) -> dict[str, list[float]]:
    """Return the times at which `REACHED` of a final accuracy is reached, by policy, one per seed."""
    return {
        name: [run.reaches_s(REACHED * final) for run, final in zip(runs, finals, strict=True)]
        for name, runs in curves.items()
    }


def mean_regret(runs: Sequence[Curve], top: float, time_s: float) -> float:
    """Return the mean difference to the best recorded accuracy at a time."""
    return fmean(top - run.at(time_s) for run in runs)


def table(curves: Mapping[str, Sequence[Curve]], top: float, seconds: float) -> list[str]:
    """Return the lines of a table in Markdown.

    Its columns are the mean regret in points at fractions of the budget; the median time until a run reaches `REACHED`
    of the final accuracy of `FORMER` with the same seed, and the median ratio of the two times; and the same for the
    best final accuracy of all policies.
    """
    heads = [f"regret at {fraction:.0%}" for fraction in FRACTIONS]
    heads += ["time to the former best", "ratio", "time to the best of all", "runs that reach it"]
    lines = [f"| policy | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    former = times_to_reach(curves, [run.best[-1] for run in curves[FORMER]])
    best = times_to_reach(curves, [max(run.best[-1] for run in runs) for runs in zip(*curves.values(), strict=True)])
    for name, runs in curves.items():
        cells = [f"{100 * mean_regret(runs, top, fraction * seconds):.2f}" for fraction in FRACTIONS]
        ratio = median(time_s / former_s for time_s, former_s in zip(former[name], former[FORMER], strict=True))
        cells += [f"{median(former[name]):.0f} s", f"{ratio:.2f}"]
        cells += [f"{median(best[name]):.0f} s", f"{fmean(map(math.isfinite, best[name])):.0%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def figure(curves: Mapping[str, Sequence[Curve]], top: float, seconds: float) -> str:
    """Draw the mean regret of every policy by time, from a twentieth of the budget on, as an SVG file."""
    times_s = [seconds * number / POINTS for number in range(POINTS // 20, POINTS + 1)]
    regrets = {name: [mean_regret(runs, top, time_s) for time_s in times_s] for name, runs in curves.items()}
    frame = svg.Frame(
        svg.numbers("seconds of the search", 0.0, seconds),
        svg.percentages("", 0.0, min(MAX_REGRET, max(map(max, regrets.values())))),
    )
    drawn = [
        frame.line(
            [(time_s, min(regret, frame.y.high)) for time_s, regret in zip(times_s, values, strict=True)],
            Mark(colour, "circle", dash),
        )
        + Markup('<text x="{}" y="{}" style="fill:{}">{}</text>').format(svg.WIDTH - 190, 30 + 14 * row, colour, name)
        for row, ((name, values), (colour, dash)) in enumerate(zip(regrets.items(), STROKES, strict=False))
    ]
    chart = frame.chart("Mean difference to the best recorded accuracy, by time", drawn)
    return (
        str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(">", f">{STYLE}", 1) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, nargs="+", default=[300.0, 600.0])
    parser.add_argument("--engines", nargs="+", default=["optuna:random", "optuna:tpe"])
    parser.add_argument("--figure", type=Path, help="SVG file for the last budget and engine")
    arguments = parser.parse_args()
    recording = Recording.read(RECORDED)
    top = best_recorded(recording)
    for seconds in arguments.seconds:
        for engine in arguments.engines:
            curves = compare(recording, POLICIES, seconds, arguments.runs, engine)
            print(f"\n{engine}, {seconds:.0f} s, {arguments.runs} runs\n", *table(curves, top, seconds), sep="\n")
    if arguments.figure:
        arguments.figure.write_text(figure(curves, top, seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
