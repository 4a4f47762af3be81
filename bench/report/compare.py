"""Two runs side by side: every family, and what was different about the runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from bench import text
from bench.check.changes import ABSENT, FamilyChange, family_changes, same_hardware, setting_changes
from bench.errors import RunFolderError
from bench.records import Run, Trial, to_data
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.report.sections.leaderboard import board_scale
from bench.report.sections.reproduce import environment_facts
from bench.report.sections.verdict import Notice, no_result, test_interval
from bench.report.styles import Mark, interval_bar, marks
from bench.runs import results
from bench.runs.results import Results, flat_settings

NOISE = 1.2
"""Two training times on one machine count as the same up to this ratio: one measurement of each is not more exact."""

UNCOMPARED = ("out", "plotlyjs")
"""Settings that say where a run lies and how its page is written, not what was done."""


@dataclass(frozen=True, kw_only=True)
class FamilySide:
    """A family in one of the two runs.

    Attributes:
        trial: Its chosen trial; None where it has no result, and `reason` says why.
        accuracy, low, high: Test accuracy, with several seeds the mean, and its 95 % interval; None where it was not
            scored.
        bar: The same as a picture.
        states: How its trials ended, in words.
    """

    trial: Trial | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    bar: Markup = field(default_factory=Markup)
    states: str
    reason: str = ""

    @property
    def mean(self) -> str:
        """The seeds that its accuracy is the mean of, in words; "" with one seed."""
        return text.mean_of_seeds([self.trial] if self.trial else [])

    @property
    def outcome(self) -> tuple[object, ...]:
        """Everything that must be the same in both runs for the family to count as unchanged; times do not count."""
        trial = self.trial
        if trial is None:
            return (self.reason, self.states)
        parameters = trial.cost.parameters if trial.cost else None
        return (trial.params, trial.weights, trial.value, parameters, self.accuracy, self.states)


@dataclass(frozen=True)
class ComparedValue:
    """A value that both runs have, as each has it."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ValueGroup:
    """Values that belong together: those that differ, and those that are equal."""

    title: str
    differing: Sequence[ComparedValue]
    equal: Sequence[ComparedValue]


@dataclass(frozen=True, kw_only=True)
class ComparedFamily:
    """A family in both runs.

    Attributes:
        difference: Test accuracy after less before; None unless both were scored.
        test: The gate's test of it; None where the two were not scored on the same pictures.
        ratio: Training time after divided by before; None where the times do not compare.
        configuration: The hyperparameters of the two chosen trials; None unless both runs have a result.
    """

    family: str
    mark: Mark
    before: FamilySide
    after: FamilySide
    difference: float | None
    test: FamilyChange | None
    ratio: float | None
    configuration: ValueGroup | None

    @property
    def apart(self) -> bool | None:
        """True where the two intervals lie apart: all that can be said without pairs; None where one is missing."""
        if self.before.low is None or self.before.high is None or self.after.low is None or self.after.high is None:
            return None
        return self.before.high < self.after.low or self.after.high < self.before.low

    @property
    def equal(self) -> bool:
        """True where both runs chose the same configuration with the same result, at about the same training time."""
        slower = self.ratio is not None and not 1 / NOISE <= self.ratio <= NOISE
        return self.before.outcome == self.after.outcome and not slower


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Two runs side by side.

    Attributes:
        headline: The result, in a sentence.
        notices: What a reader must know before the figures.
        changed, unchanged: The families.
        timed: Whether the training times compare.
        groups: Everything else about the two runs.
    """

    before: Run
    after: Run
    headline: str
    notices: Sequence[Notice]
    changed: Sequence[ComparedFamily]
    unchanged: Sequence[ComparedFamily]
    timed: bool
    groups: Sequence[ValueGroup]

    @property
    def tests(self) -> list[FamilyChange]:
        """The tests of all families that have one."""
        return [family.test for family in (*self.changed, *self.unchanged) if family.test]


def comparison(before: Run, after: Run) -> RunComparison:
    """Hold a run against an earlier one, or against one with other settings."""
    timed = same_hardware(results.environment_of(before), results.environment_of(after))
    families = compared_families(before, after, timed)
    return RunComparison(
        before=before,
        after=after,
        headline=_headline(families),
        notices=_notices(before, after, families, timed),
        changed=[family for family in families if not family.equal],
        unchanged=[family for family in families if family.equal],
        timed=timed,
        groups=[
            value_group("The run", _course(before), _course(after)),
            value_group("Configuration", _configuration(before), _configuration(after), _setting),
            value_group("Data and split", _split(before), _split(after), _setting),
            value_group("Environment", dict(environment_facts(before)), dict(environment_facts(after))),
        ],
    )


def html(compared: RunComparison, folder: Path, every: bool = False) -> str:
    """Draw the comparison as a page.

    Args:
        compared: The comparison.
        folder: Where the page will lie, for the links to the runs below it.
        every: Whether what is equal stands open too.
    """
    sides = [(name, run, _href(run, folder)) for name, run in (("Before", compared.before), ("After", compared.after))]
    body = environment().get_template("compare.html").render(it=compared, sides=sides, every=every)
    title = f"{compared.headline} · {compared.before.path.name}, {compared.after.path.name}"
    return document(title, body, assets(("page", "compare"), None))


def _href(run: Run, folder: Path) -> str:
    """The run's page relative to a folder above it; "" where it lies elsewhere: the way there tells of the machine."""
    page = run.path.absolute() / "report.html"
    way = os.path.relpath(page, folder.absolute())
    return quote(Path(way).as_posix()) if page.is_file() and not way.startswith(os.pardir) else ""


# -- the families


def compared_families(before: Run, after: Run, timed: bool) -> list[ComparedFamily]:
    """Compare every family of either run: those with a result in the later run first, best first.

    Args:
        before, after: The runs.
        timed: Whether their training times compare.
    """
    declared = [family.name for run in (after, before) for family in run.families]
    ranked = [trial.family for run in (after, before) for trial in run.ranking()]
    looks = marks(list(dict.fromkeys(declared)))
    scale = min(board_scale(before), board_scale(after))
    one, other = _results(before), _results(after)
    tests = family_changes(one, other) if one and other else {}

    def compared(family: str) -> ComparedFamily:
        mark = looks[family]
        first, second = (_side(run, family, mark, scale) for run in (before, after))
        difference = configuration = None
        if first.accuracy is not None and second.accuracy is not None:
            difference = second.accuracy - first.accuracy
        if first.trial and second.trial:
            configuration = value_group(family, first.trial.params, second.trial.params, text.number)
        return ComparedFamily(
            family=family,
            mark=mark,
            before=first,
            after=second,
            difference=difference,
            test=tests.get(family),
            ratio=_ratio(first.trial, second.trial) if timed else None,
            configuration=configuration,
        )

    return [compared(family) for family in dict.fromkeys([*ranked, *declared])]


def _results(run: Run) -> Results | None:
    """The results of a run; None where its split cannot be read, so that nothing can be paired."""
    try:
        return results.of_run(run)
    except RunFolderError:
        return None


def _side(run: Run, family: str, mark: Mark, scale: tuple[float, float]) -> FamilySide:
    trial = run.best(family)
    info = next((each for each in run.families if each.name == family), None)
    states = text.states(each for each in run.trials if each.family == family)
    if trial is None:
        return FamilySide(states=states, reason=no_result(run, info) if info else "not in this run")
    accuracy, low, high = test_interval(trial)
    bar = interval_bar(mark, scale, accuracy, low, high)
    return FamilySide(trial=trial, accuracy=accuracy, low=low, high=high, bar=bar, states=states)


def _ratio(before: Trial | None, after: Trial | None) -> float | None:
    """Training time after divided by before; None where one is unknown or too short to measure."""
    one, other = (trial.cost if trial else None for trial in (before, after))
    if one is None or other is None or min(one.train_time_s, other.train_time_s) < 0.1:
        return None
    return other.train_time_s / one.train_time_s


# -- everything else


def value_group(
    title: str, before: Mapping[str, object], after: Mapping[str, object], show: Callable[[object], str] = str
) -> ValueGroup:
    """Compare values by name, in the order in which they are first named."""
    changes = setting_changes(before, after)
    differing = {change.name for change in changes}

    def shown(value: object) -> str:
        return text.NOTHING if value is ABSENT else show(value)

    return ValueGroup(
        title,
        [ComparedValue(name, shown(one), shown(other)) for name, one, other in changes],
        [
            ComparedValue(name, shown(value), shown(value))
            for name, value in flat_settings(before).items()
            if name not in differing
        ],
    )


def _course(run: Run) -> dict[str, str]:
    return {
        "begun": run.created_utc.replace("T", " ").replace("Z", " UTC"),
        "status": run.status,
        "took": text.seconds(run.elapsed_s),
        "trials": text.states(trial for trial in run.trials if not trial.duplicate_of),
    }


def _configuration(run: Run) -> dict[str, object]:
    settings = {name: value for name, value in to_data(run.config).items() if name not in UNCOMPARED}
    return settings | {"budget": text.budget(run.config)}


def _split(run: Run) -> dict[str, object]:
    split = run.split
    parts = {
        part: text.listing([f"{text.thousands(n)} {name}" for name, n in counts.items()])
        for part, counts in split.counts.items()
        if counts
    }
    return {
        "source": split.source,
        "classes": text.listing(split.classes, 8),
        **parts,
        "folds": split.folds or None,
        "left out": text.thousands(len(split.quarantined)),
        "input sizes": split.input_sizes,
        "sha256 of the split": split.sha256,
    }


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or text.NOTHING
    return text.NOTHING if value in (None, "") else str(value)


# -- in words


def _headline(families: Sequence[ComparedFamily]) -> str:
    both = [family for family in families if family.before.trial and family.after.trial]
    if not both:
        return "No family has a result in both runs."
    if all(family.equal for family in families):
        return "Both runs have the same results."
    tests = {family.family: family.test for family in both if family.test}
    if not tests:
        return "The test accuracies of the two runs cannot be paired picture by picture."
    sentences, calibrated = [], True
    for known, how in (
        (True, "measurably {} than before"),
        (False, "{} than before by more than the test pictures explain"),
    ):
        for better in (True, False):
            names = [
                name
                for name, test in tests.items()
                if test.significant and test.accuracy.calibrated is known and (test.accuracy.difference > 0) is better
            ]
            if names:
                manner = how.format("better" if better else "worse")
                sentences.append(f"{text.listing(names)} {'does' if len(names) == 1 else 'do'} {manner}")
                calibrated = calibrated and known
    if sentences:
        return f"{', '.join(sentences)}{'' if calibrated else '; the noise of seeds is not known'}."
    which = f"{next(iter(tests))} does not do" if len(tests) == 1 else "No family does"
    return f"{which} measurably better or worse than before."


def _notices(before: Run, after: Run, families: Sequence[ComparedFamily], timed: bool) -> list[Notice]:
    notices = []
    if before.split.sha256 != after.split.sha256:
        why = (
            "The test pictures are the same, so the test accuracies still compare picture by picture."
            if any(family.test for family in families)
            else "The test accuracies are of different pictures: not paired, and a difference may be the data's."
        )
        notices.append(Notice("warning", "Two splits", why))
    if not timed:
        why = "The two runs had other hardware, or another number of trials at a time."
        notices.append(Notice("warning", "Times do not compare", why))
    sides = (("before", before), ("after", after))
    if unfinished := [f"{name} ({run.status})" for name, run in sides if run.status != "complete"]:
        why = f"{text.listing(unfinished)}: its best may not be the final one."
        notices.append(Notice("warning", "Not complete", why))
    return notices
