"""Two runs side by side: what was different about them, and what became of every family."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from bench import stats, text
from bench.records import Run, Trial
from bench.report.aspects import Aspect, aspect, aspects
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.report.sections.leaderboard import board_scale
from bench.report.sections.verdict import Notice, no_result, test_interval
from bench.report.styles import Mark, interval_bar, marks
from bench.runs import predictions
from bench.runs.predictions import Predictions

NOISE = 1.2
"""Two training times on one machine count as the same up to this ratio: one measurement of each is not more exact."""

HARDWARE = ("cpu", "cores", "gpus")
"""Of the environment, what must be the same for times to compare."""


@dataclass(frozen=True)
class Side:
    """A family in one of the two runs.

    Attributes:
        trial: Its chosen trial; None where it has no result, and `reason` says why.
        accuracy, low, high: Test accuracy, with several seeds the mean, and its 95 % interval; None where it was not
            scored.
        bar: The same as a picture.
        states: How its trials ended, in words.
    """

    trial: Trial | None
    accuracy: float | None
    low: float | None
    high: float | None
    bar: Markup
    states: str
    reason: str

    @property
    def mean(self) -> str:
        """What its accuracy is the mean of, in words; "" with one seed."""
        return text.mean_of_seeds([self.trial] if self.trial else [])

    @property
    def outcome(self) -> tuple[object, ...]:
        """What must be the same in both runs for the family to count as unchanged; its times are no part of it."""
        trial = self.trial
        if trial is None:
            return (self.reason, self.states)
        parameters = trial.cost.parameters if trial.cost else None
        return (trial.params, trial.weights, trial.value, parameters, self.accuracy, self.states)


@dataclass(frozen=True)
class PairedTest:
    """A family's two models on the same test pictures, or two sets of them that differ by their seeds.

    Attributes:
        n: How many pictures.
        value: The difference of the accuracies, after less before; over seeds of their means.
        low, high: Its 95 % interval.
        p: P-value of McNemar's exact test, over seeds of `stats.difference_over_seeds`, corrected for the number of
            families (Holm).
        only_before, only_after: How many pictures the one model alone classifies rightly, and how many the other alone.
        seeds: How many seeds there are before and after; None where the run's own seed of each is compared, because one
            of the two has no other.
    """

    n: int
    value: float
    low: float
    high: float
    p: float
    only_before: int = 0
    only_after: int = 0
    seeds: tuple[int, int] | None = None

    @property
    def significant(self) -> bool:
        """Whether it tells the two apart."""
        return self.p < stats.LEVEL


@dataclass(frozen=True)
class Change:
    """What became of a family.

    Attributes:
        difference: Test accuracy after less before; None unless both were scored.
        test: The paired test; None where the two were not scored on the same pictures.
        ratio: Training time after divided by before; None where the times do not compare.
        configuration: The hyperparameters of the two chosen trials; None unless both runs have a result.
    """

    family: str
    mark: Mark
    before: Side
    after: Side
    difference: float | None
    test: PairedTest | None
    ratio: float | None
    configuration: Aspect | None

    @property
    def one_seed(self) -> bool:
        """Whether the test is of the run's own seeds alone, though one of the two accuracies is a mean of several."""
        return self.test is not None and self.test.seeds is None and bool(self.before.mean or self.after.mean)

    @property
    def apart(self) -> bool | None:
        """Whether the two intervals lie apart: all that can be said without pairs; None where one is missing."""
        if self.before.low is None or self.before.high is None or self.after.low is None or self.after.high is None:
            return None
        return self.before.high < self.after.low or self.after.high < self.before.low

    @property
    def equal(self) -> bool:
        """Whether both runs chose the same configuration with the same result, at about the same training time."""
        slower = self.ratio is not None and not 1 / NOISE <= self.ratio <= NOISE
        return self.before.outcome == self.after.outcome and not slower


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        headline: What came of it, in a sentence.
        notices: What a reader must know before the figures.
        changed, unchanged: The families.
        timed: Whether the training times compare.
        paired: Whether families were scored on the same test pictures, with one seed of each.
        over_seeds: Whether they were with several.
        aspects: What was different about the runs.
    """

    before: Run
    after: Run
    headline: str
    notices: Sequence[Notice]
    changed: Sequence[Change]
    unchanged: Sequence[Change]
    timed: bool
    paired: bool
    over_seeds: bool
    aspects: Sequence[Aspect]


def comparison(before: Run, after: Run) -> Comparison:
    """Holds a run against an earlier one, or against one with other settings."""
    timed = same_hardware(before, after)
    every = changes(before, after, timed)
    return Comparison(
        before,
        after,
        headline=_headline(every),
        notices=_notices(before, after, every, timed),
        changed=[change for change in every if not change.equal],
        unchanged=[change for change in every if change.equal],
        timed=timed,
        paired=any(change.test and not change.test.seeds for change in every),
        over_seeds=any(change.test and change.test.seeds for change in every),
        aspects=aspects(before, after),
    )


def html(compared: Comparison, folder: Path, every: bool = False) -> str:
    """The comparison as a page.

    Args:
        compared: What it shows.
        folder: Where the page will lie, for the links to the runs below it.
        every: Whether what is equal stands open too.
    """
    sides = [(name, run, _href(run, folder)) for name, run in (("Before", compared.before), ("After", compared.after))]
    about = {"it": compared, "sides": sides, "every": every}
    body = environment().get_template("compare.html").render(about)
    title = f"{compared.headline} · {compared.before.path.name}, {compared.after.path.name}"
    return document(title, body, assets(("page", "compare"), None))


def _href(run: Run, folder: Path) -> str:
    """The run's page relative to a folder above it; "" where it lies elsewhere: the way there tells of the machine."""
    page = run.path.absolute() / "report.html"
    way = os.path.relpath(page, folder.absolute())
    return quote(Path(way).as_posix()) if page.is_file() and not way.startswith(os.pardir) else ""


# -- the families


def changes(before: Run, after: Run, timed: bool) -> list[Change]:
    """Every family of either run: those with a result in the later run first, best first.

    Args:
        before, after: The runs.
        timed: Whether their training times compare.
    """
    declared = [family.name for run in (after, before) for family in run.families]
    ranked = [trial.family for run in (after, before) for trial in run.ranking()]
    looks = marks(list(dict.fromkeys(declared)))
    scale = min(board_scale(before), board_scale(after))
    tests = paired_tests(before, after)

    def change(family: str) -> Change:
        mark = looks[family]
        return _change(family, mark, [_side(run, family, mark, scale) for run in (before, after)], tests, timed)

    return [change(family) for family in dict.fromkeys([*ranked, *declared])]


def _side(run: Run, family: str, mark: Mark, scale: tuple[float, float]) -> Side:
    trial = run.best(family)
    known = next((each for each in run.families if each.name == family), None)
    states = text.states(each for each in run.trials if each.family == family)
    if trial is None:
        reason = no_result(run, known) if known else "not in this run"
        return Side(None, None, None, None, Markup(), states, reason)
    accuracy, low, high = test_interval(trial)
    return Side(trial, accuracy, low, high, interval_bar(mark, scale, accuracy, low, high), states, "")


def _change(family: str, mark: Mark, sides: Sequence[Side], tests: Mapping[str, PairedTest], timed: bool) -> Change:
    before, after = sides
    difference = None if before.accuracy is None or after.accuracy is None else after.accuracy - before.accuracy
    configuration = None
    if before.trial and after.trial:
        configuration = aspect(family, _parameters(before.trial), _parameters(after.trial))
    ratio = _ratio(before.trial, after.trial) if timed else None
    change = Change(family, mark, before, after, difference, tests.get(family), ratio, configuration)
    if change.test and change.one_seed and (change.test.value * (difference or 0.0) <= 0 or not change.apart):
        # One seed cannot decide: it says the opposite of the means, or the intervals, with the seeds in them, overlap.
        return replace(change, test=replace(change.test, p=1.0))
    return change


def _parameters(trial: Trial) -> dict[str, str]:
    return {name: text.number(value) for name, value in trial.params.items()}


def _ratio(before: Trial | None, after: Trial | None) -> float | None:
    """Training time after divided by before; None where one is unknown or too short to measure, or on other cores."""
    one, other = (trial.cost if trial else None for trial in (before, after))
    if one is None or other is None or one.cores != other.cores or min(one.train_time_s, other.train_time_s) < 0.1:
        return None
    return other.train_time_s / one.train_time_s


def same_hardware(before: Run, after: Run) -> bool:
    """Whether training times compare: both runs on the same kind of machine, with as many trials at a time."""
    machines = [[run.environment.get(name) for name in HARDWARE] for run in (before, after)]
    return machines[0] == machines[1] and before.config.workers == after.config.workers


# -- the same pictures


def paired_tests(before: Run, after: Run) -> dict[str, PairedTest]:
    """For every family that both runs scored on the same test pictures, whether the two models differ.

    The pictures are known by their content, so that two splits that differ elsewhere will do; none where the classes
    differ, or where the predictions are missing. Where both have several seeds, their means are compared.
    """
    if before.split.classes != after.split.classes:
        return {}
    one, other = predictions.of_run(before), predictions.of_run(after)
    rights = {
        family: _aligned(_seeds(before, family, one[family]), _seeds(after, family, other[family]))
        for family in one
        if family in other
    }
    return _tested({family: both for family, both in rights.items() if both is not None})


def _seeds(run: Run, family: str, own: Predictions) -> list[Predictions]:
    """A family's by seed, the run's own first; that alone where there is no other."""
    trial = run.best(family)
    return list(predictions.of_seeds(run, trial).values()) or [own] if trial and trial.over_seeds else [own]


def _aligned(before: Sequence[Predictions], after: Sequence[Predictions]) -> tuple[Any, Any] | None:
    """Which pictures each model has right, shapes (seeds, n) in one order; None where they are not the same pictures.

    Args:
        before, after: By seed, each of the same pictures.
    """
    orders = [np.argsort(each[0].sha256, kind="stable") for each in (before, after)]
    same_pictures = np.array_equal(before[0].sha256[orders[0]], after[0].sha256[orders[1]])
    if not same_pictures or not np.array_equal(before[0].labels[orders[0]], after[0].labels[orders[1]]):
        return None
    one, other = (
        np.array([own.right[order] for own in each]) for each, order in zip((before, after), orders, strict=True)
    )
    return one, other


def _tested(rights: Mapping[str, tuple[Any, Any]]) -> dict[str, PairedTest]:
    """A test for each family, corrected for their number."""
    tests = {family: _test(before, after) for family, (before, after) in rights.items()}
    corrected = stats.holm([test.p for test in tests.values()])
    return {family: replace(test, p=float(p)) for (family, test), p in zip(tests.items(), corrected, strict=True)}


def _test(before: Any, after: Any) -> PairedTest:
    """Over seeds where both have several, else McNemar's exact test and Newcombe's interval (see `stats`)."""
    n = before.shape[1]
    if min(*before.shape, *after.shape) > 1:
        found = stats.difference_over_seeds(after, before)
        seeds = len(before), len(after)
        return PairedTest(n, found.value, found.low, found.high, found.p, seeds=seeds)
    one, other = before[0], after[0]
    both, gained, lost, neither = (int(each.sum()) for each in (one & other, other & ~one, one & ~other, ~one & ~other))
    low, high = stats.paired_difference(both, gained, lost, neither)
    p = float(stats.mcnemar(gained, lost))
    return PairedTest(n, (gained - lost) / n, float(low), float(high), p, lost, gained)


# -- in words


def _headline(every: Sequence[Change]) -> str:
    both = [change for change in every if change.before.trial and change.after.trial]
    if not both:
        return "No family has a result in both runs."
    if all(change.equal for change in every):
        return "Both runs have the same results."
    tests = {change.family: change.test for change in both if change.test}
    if not tests:
        return "The test accuracies of the two runs cannot be paired picture by picture."
    better = [family for family, test in tests.items() if test.significant and test.value > 0]
    worse = [family for family, test in tests.items() if test.significant and test.value < 0]
    if not better and not worse:
        one = next(iter(tests))
        which = f"{one} does not do" if len(tests) == 1 else "No family does"
        return f"{which} measurably better or worse than before."
    said = [
        f"{text.listing(names)} {'does' if len(names) == 1 else 'do'} measurably {how} than before"
        for names, how in ((better, "better"), (worse, "worse"))
        if names
    ]
    return f"{', '.join(said)}."


def _notices(before: Run, after: Run, every: Sequence[Change], timed: bool) -> list[Notice]:
    notices = []
    if before.split.sha256 != after.split.sha256:
        paired = any(change.test for change in every)
        why = (
            "The test pictures are the same, so the test accuracies still compare picture by picture."
            if paired
            else "The test accuracies are of different pictures: not paired, and a difference may be the data's."
        )
        notices.append(Notice("warning", "Two splits", why))
    if not timed:
        why = "The two runs had other hardware, or another number of trials at a time."
        notices.append(Notice("warning", "Times do not compare", why))
    unfinished = [f"{name} ({run.status})" for name, run in (("before", before), ("after", after))
                  if run.status != "complete"]  # fmt: skip
    if unfinished:
        notices.append(
            Notice("warning", "Not complete", f"{text.listing(unfinished)}: its best may not be the final one.")
        )
    return notices
