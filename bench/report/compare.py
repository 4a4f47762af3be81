"""Two runs side by side: every family, and the differences in settings, data and environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from bench import text
from bench.check.changes import (
    ABSENT,
    FamilyChange,
    SettingChange,
    edited_file,
    family_changes,
    same_hardware,
    same_metric,
    scored_pairs,
    setting_changes,
)
from bench.check.flips import TABLED, Flip, Flips, flips, recall_changes, scored_pictures
from bench.errors import RunFolderError
from bench.metrics._metric import Metric
from bench.records import Cost, Run, Trial, to_data
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.report.photos import Photo, PhotoAlbum
from bench.report.sections.leaderboard import board_scale
from bench.report.sections.notices import Notice
from bench.report.sections.reproduce import environment_facts
from bench.report.sections.verdict import no_result
from bench.report.styles import interval_bar, marks
from bench.runs import results
from bench.runs.results import Results, flat_settings

NOISE = 1.2
"""Two training times on one machine count as equal up to this ratio: a single measurement is not more exact."""

SHORTEST_S = 0.1
"""Shorter training times are not compared."""

MAX_BYTES = 600_000
"""Maximum size of the thumbnails of either run."""

UNCOMPARED = ("out", "plotlyjs")
"""Settings that are not compared: they change the files, not the results."""


@dataclass(frozen=True, kw_only=True)
class FamilySide:
    """A family in one of the two runs.

    Attributes:
        trial: Its chosen trial; None without a result, and `reason` says why.
        metric: The metric that its run chose by.
        value, low, high: It on the test pictures (the mean of several seeds), with its 95 % interval; None if not
            scored.
        states: States of its trials, in words.
    """

    metric: Metric
    trial: Trial | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    states: str
    reason: str = ""

    @property
    def cost(self) -> Cost | None:
        """The cost of the chosen trial."""
        return self.trial.cost if self.trial else None

    @property
    def outcome(self) -> tuple[object, ...]:
        """The values that must be equal in both runs for the family to count as unchanged; times are not among them."""
        if self.trial is None:
            return (self.reason, self.states)
        parameters = self.cost.parameters if self.cost else None
        return (self.trial.params, self.trial.weights, self.trial.value, parameters, self.value, self.states)

    @property
    def cell(self) -> tuple[str, ...]:
        """Its test result for `ComparedFamily.cells`."""
        value = text.figure(self.value, self.metric)
        if self.trial is None or self.low is None or self.high is None:
            why = f"not scored; validation {text.validation(self.trial)}" if self.trial else self.reason
            return value, why
        return value, text.figures(self.low, self.high, self.metric), text.mean_of_seeds([self.trial])


@dataclass(frozen=True)
class ValueGroup:
    """A titled group of values, in words: those that differ between the runs, and those that are equal."""

    title: str
    differing: Sequence[SettingChange]
    equal: Sequence[SettingChange]


@dataclass(frozen=True, kw_only=True)
class ComparedFamily:
    """A family in both runs.

    Attributes:
        difference: Test result after minus before; None unless both were scored by the same metric.
        test: The test of `bench check`; None unless both were scored by the same metric on the same pictures.
        ratio: Training time after divided by before; None if the times are not comparable.
        configuration: The hyperparameters of the two chosen trials; None unless both runs have a result.
    """

    family: str
    before: FamilySide
    after: FamilySide
    difference: float | None
    test: FamilyChange | None
    ratio: float | None
    configuration: ValueGroup | None

    @property
    def equal(self) -> bool:
        """True if both runs chose the same configuration with the same result and about the same training time."""
        slower = self.ratio is not None and not 1 / NOISE <= self.ratio <= NOISE
        return self.before.outcome == self.after.outcome and not slower

    @property
    def cells(self) -> dict[str, tuple[str, ...]]:
        """Its cells by column: the figure, then the small print below it."""
        one, other = self.before.cost, self.after.cost
        small = "not comparable" if self.ratio is None else f"{self.ratio:.2f} times"
        metric = self.after.metric
        gap = text.NOTHING if self.difference is None else text.gap(self.difference, metric)
        ends = [text.gap(end, metric) for end in (self.test.change.low, self.test.change.high)] if self.test else []
        return {
            "Before": self.before.cell,
            "After": self.after.cell,
            "Points" if metric.percent else "Change": (gap, " to ".join(ends)),
            "Paired test": self._paired(),
            "Training": (
                _step(*(text.seconds(cost.train_time_s if cost else None) for cost in (one, other))),
                small if one and other else "",
            ),
            "Parameters": (_step(*(text.count(cost.parameters if cost else None) for cost in (one, other))),),
            "Trials": (_step(self.before.states or text.NOTHING, self.after.states or text.NOTHING),),
        }

    def _paired(self) -> tuple[str, ...]:
        test, before, after = self.test, self.before, self.after
        if test:
            one, other = test.seeds
            counts = f"{test.gained} gained, {test.lost} lost of" if one == other == 1 else ""
            counts = counts or f"{one} and {text.plural(other, 'seed')} on"
            return text.p_value(test.p), f"{counts} {text.thousands(test.pictures)}"
        if before.low is None or before.high is None or after.low is None or after.high is None:
            return (text.NOTHING,)
        if self.difference is None:
            return "not comparable", "another metric"
        apart = before.high < after.low or after.high < before.low
        return "not paired", f"intervals {'lie apart' if apart else 'overlap'}"


def _step(before: str, after: str) -> str:
    return before if before == after else f"{before}\u00a0→ {after}"


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Two runs side by side.

    Attributes:
        headline: The result, in a sentence.
        notices: Banners above the figures.
        changed, unchanged: The families, those with a result in the later run first, best first.
        timed: True if the training times are comparable.
        groups: The other values of the two runs.
        flips: By family, the pictures with another answer; without families that have none.
    """

    before: Run
    after: Run
    headline: str
    notices: Sequence[Notice]
    changed: Sequence[ComparedFamily]
    unchanged: Sequence[ComparedFamily]
    timed: bool
    groups: Sequence[ValueGroup]
    flips: Mapping[str, Flips]

    @property
    def tests(self) -> dict[str, FamilyChange]:
        """The tests by family; families without a test are left out."""
        return {family.family: family.test for family in (*self.changed, *self.unchanged) if family.test}


def comparison(before: Run, after: Run) -> RunComparison:
    """Compare a run with an earlier one, or with one of other settings."""
    timed = same_hardware(results.environment_of(before), results.environment_of(after))
    declared = [family.name for run in (after, before) for family in run.families]
    ranked = [trial.family for run in (after, before) for trial in run.ranking()]
    pair = _results(before, after)
    tests, same = family_changes(*pair) if pair else {}, pair is None or same_metric(*pair)
    families = [
        _compared(name, before, after, tests.get(name), timed, same) for name in dict.fromkeys([*ranked, *declared])
    ]
    return RunComparison(
        before=before,
        after=after,
        headline=_headline(families, before.metric, after.metric),
        notices=_notices(before, after, families, timed, _edited(pair)),
        changed=[family for family in families if not family.equal],
        unchanged=[family for family in families if family.equal],
        timed=timed,
        groups=[
            value_group("The run", _course(before), _course(after)),
            value_group("Configuration", _configuration(before), _configuration(after), _setting),
            value_group("Data and split", _split(before), _split(after), _setting),
            value_group("Environment", dict(environment_facts(before)), dict(environment_facts(after))),
        ],
        flips=_flips(*pair, before, after) if pair else {},
    )


def _flips(old: Results, new: Results, before: Run, after: Run) -> dict[str, Flips]:
    folders = before.path, after.path
    pictures = scored_pictures(old, new, folders, after.split.classes)
    return flips(old, new, folders, pictures, recall_changes(old, new, pictures))


def html(compared: RunComparison, folder: Path, every: bool = False) -> str:
    """Draw the comparison as a page.

    Args:
        compared: The comparison.
        folder: The page's folder; runs below it are linked.
        every: True to unfold equal values too.
    """
    before, after = compared.before, compared.after
    looks = marks([*dict.fromkeys(family.name for run in (after, before) for family in run.families)])
    scale = max(board_scale(before), board_scale(after), key=lambda ends: abs(ends[1] - ends[0]))

    def bar(family: ComparedFamily, side: FamilySide) -> Markup:
        return interval_bar(looks[family.family], scale, side.value, side.low, side.high)

    albums = [PhotoAlbum(run, MAX_BYTES) for run in (after, before)]
    values = {
        "it": compared,
        "flipped": [(name, one, _sides(one, albums)) for name, one in compared.flips.items()],
        "tabled": TABLED,
        "sides": [(name, run, _href(run, folder)) for name, run in (("Before", before), ("After", after))],
        "every": every,
        "marks": looks,
        "bar": bar,
    }
    body = environment().get_template("compare.html").render(values)
    title = f"{compared.headline} · {before.path.name}, {after.path.name}"
    return document(title, body, assets(("page", "sections/models", "compare"), None))


def _href(run: Run, folder: Path) -> str:
    """The address of a run's page below `folder`; "" if it is elsewhere, since its path would reveal other folders."""
    page = run.path.absolute() / "report.html"
    relative = os.path.relpath(page, folder.absolute())
    return quote(Path(relative).as_posix()) if page.is_file() and not relative.startswith(os.pardir) else ""


def _sides(flipped: Flips, albums: Sequence[PhotoAlbum]) -> list[tuple[str, int, list[tuple[Flip, Photo]]]]:
    """The two directions: heading, number of pictures, and those listed; thumbnails are of the run with the mistake."""
    return [
        (heading, count, [(flip, album.photo(flip.sha256)) for flip in listed])
        for heading, count, listed, album in (
            ("right before, wrong after", flipped.lost_count, flipped.lost, albums[0]),
            ("wrong before, right after", flipped.gained_count, flipped.gained, albums[1]),
        )
    ]


# -- the families


def _results(before: Run, after: Run) -> tuple[Results, Results] | None:
    """The results of the two; None if a split cannot be read, because nothing can be paired then."""
    try:
        return results.of_run(before), results.of_run(after)
    except RunFolderError:
        return None


def _edited(pair: tuple[Results, Results] | None) -> str:
    """The families' files that changed between the runs, in a sentence; "" without any."""
    both = scored_pairs(*pair) if pair else {}
    names = [text.one_line(f"{name}.py", 40) for name, (old, new) in both.items() if edited_file(old, new)]
    return f"{text.listing(names, 8)} changed since the run before." if names else ""


def _compared(name: str, before: Run, after: Run, test: FamilyChange | None, timed: bool, same: bool) -> ComparedFamily:
    one, other = _side(before, name), _side(after, name)
    difference = ratio = configuration = None
    if same and one.value is not None and other.value is not None:
        difference = other.value - one.value
    if timed and one.cost and other.cost and min(one.cost.train_time_s, other.cost.train_time_s) >= SHORTEST_S:
        ratio = other.cost.train_time_s / one.cost.train_time_s
    if one.trial and other.trial:
        configuration = value_group(name, one.trial.params, other.trial.params, text.number)
    return ComparedFamily(
        family=name,
        before=one,
        after=other,
        difference=difference,
        test=test,
        ratio=ratio,
        configuration=configuration,
    )


def _side(run: Run, family: str) -> FamilySide:
    trial = run.best(family)
    states = text.states(trial for trial in run.trials if trial.family == family)
    if trial is None:
        info = next((info for info in run.families if info.name == family), None)
        return FamilySide(metric=run.metric, states=states, reason=no_result(run, info) if info else "not in this run")
    value, low, high = trial.test_with_interval
    return FamilySide(metric=run.metric, trial=trial, value=value, low=low, high=high, states=states)


# -- everything else


def value_group(
    title: str, before: Mapping[str, object], after: Mapping[str, object], show: Callable[[object], str] = str
) -> ValueGroup:
    """Compare values by name, in the order of their first occurrence."""

    def shown(value: object) -> str:
        return text.NOTHING if value is ABSENT else show(value)

    changes = setting_changes(before, after)
    names = {change.name for change in changes}
    equal = [(name, shown(value)) for name, value in flat_settings(before).items() if name not in names]
    return ValueGroup(
        title,
        [SettingChange(name, shown(one), shown(other)) for name, one, other in changes],
        [SettingChange(name, value, value) for name, value in equal],
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
        part: [f"{text.thousands(n)} {name}" for name, n in counts.items()] for part, counts in split.counts.items()
    }
    return {
        "source": split.source,
        "classes": text.listing(split.classes, 8),
        **{part: text.listing(counts) for part, counts in parts.items() if counts},
        "folds": split.folds or None,
        "left out": text.thousands(len(split.quarantined)),
        "input sizes": split.input_sizes,
        "sha256 of the split": split.sha256,
    }


def _setting(value: object) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.NOTHING if value is None else shown or text.NOTHING


# -- in words


def _headline(families: Sequence[ComparedFamily], before: Metric, after: Metric) -> str:
    if before.name != after.name:
        return f"The runs chose by different metrics, {before.title} before and {after.title} after."
    both = [family for family in families if family.before.trial and family.after.trial]
    if not both:
        return "No family has a result in both runs."
    if all(family.equal for family in families):
        return "Both runs have the same results."
    tests = {family.family: family.test for family in both if family.test}
    if not tests:
        return "The test results of the two runs cannot be paired picture by picture."
    groups: dict[str, list[str]] = {}
    known = True
    for name, test in tests.items():
        if test.significant:
            better, calibrated = test.gain > 0, test.change.calibrated
            known = known and calibrated
            change = f"{'measurably ' if calibrated else ''}{'better' if better else 'worse'} than before"
            change += "" if calibrated else " by more than the test pictures explain"
            groups.setdefault(change, []).append(name)
    if groups:
        sentences = [
            f"{text.listing(names)} {'is' if len(names) == 1 else 'are'} {change}" for change, names in groups.items()
        ]
        return f"{', '.join(sentences)}{'' if known else '; the noise of seeds is unknown'}."
    subject = f"{next(iter(tests))} is not" if len(tests) == 1 else "No family is"
    return f"{subject} measurably better or worse than before."


def _notices(before: Run, after: Run, families: Sequence[ComparedFamily], timed: bool, edited: str) -> list[Notice]:
    sides = (("before", before), ("after", after))
    unfinished = [f"{name} ({run.status})" for name, run in sides if run.status != "complete"]
    split = (
        "The test pictures are the same, so the test results still compare picture by picture."
        if any(family.test for family in families)
        else "The test results are of different pictures: not paired, and the data may explain a difference."
    )
    times = "The two runs used different hardware, or trained a different number of trials at a time."
    notices = {
        "Another file": edited,
        "Two splits": split if before.split.sha256 != after.split.sha256 else "",
        "Times are not comparable": "" if timed else times,
        "Not complete": unfinished and f"{text.listing(unfinished)}: the best so far may not be the final one.",
    }
    return [Notice("warning", title, why) for title, why in notices.items() if why]
