"""The budget: its plan, what each family got of it, and how good the forecasts of the trials' seconds were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import text
from bench.records import COMPLETE, Forecast, Run
from bench.report.sections.feature_cache import Saved, saved, savings


@dataclass(frozen=True)
class Prediction:
    """The forecast of a trial's seconds and the outcome."""

    forecast: Forecast
    took_s: float

    @property
    def error(self) -> float:
        """Distance of the forecast from the outcome, as a share of the outcome."""
        return abs(self.forecast.time_s - self.took_s) / self.took_s

    @property
    def factor(self) -> float:
        """Ratio of the larger of forecast and outcome to the smaller, at least 1."""
        return max(self.forecast.time_s, self.took_s) / min(self.forecast.time_s, self.took_s)

    @property
    def inside(self) -> bool:
        """True if the outcome is in the 90 % interval."""
        return self.forecast.low_s <= self.took_s <= self.forecast.high_s


@dataclass(frozen=True)
class Spending:
    """A family's part of the budget.

    Attributes:
        known, proposed: Number of trials, answers from the record included if they used budget.
        spent_s: Seconds of its trials.
        share: Its share of the seconds of all families.
        saved: Time that the feature cache saved.
        first: Prediction of its first trial; None without one.
        error: Median error of the predictions of its later trials; None without any.
        dropped: Reasons why it got no more trials, one for each engine.
    """

    family: str
    known: int
    proposed: int
    spent_s: float
    share: float
    saved: Saved
    first: Prediction | None
    error: float | None
    dropped: Sequence[str]


@dataclass(frozen=True)
class BudgetAccount:
    """The section.

    Attributes:
        plan: The division of the budget in words; "" in older records.
        savings: The time that the feature cache saved in words; "" if it saved less than a second.
        refusals: The number of refused configurations in words; "" without any.
        forecasts: The quality of the forecasts in words; "" without any.
        families: Those that were tried.
    """

    summary: str
    plan: str
    savings: str
    refusals: str
    forecasts: str
    families: Sequence[Spending]


def section(run: Run) -> BudgetAccount:
    """The budget of a run."""
    families = spending(run)
    return BudgetAccount(
        summary=summary(run, families),
        plan=text.search_plan(run.plan) if run.plan else "",
        savings=savings(run),
        refusals=text.refusals(run.trials, run.config),
        forecasts=forecast_quality(run),
        families=families,
    )


def summary(run: Run, families: Sequence[Spending]) -> str:
    """Summarise the division of the time: `cnn 62.0 %, vgg16 38.0 % of 5 min; cnn stopped at 1 min 10 s`.

    Before the first trial it is the plan; "" without one.
    """
    spent = sorted((row for row in families if row.spent_s), key=lambda row: -row.spent_s)
    if not spent:
        return f"plan: {text.search_plan(run.plan)}" if run.plan else ""
    shares = text.listing([f"{text.one_line(row.family, 40)} {text.percent(row.share)}" for row in spent], 3)
    stopped = [
        f"; {text.one_line(study.family, 40)} stopped at {text.seconds(study.dropped_s)}"
        for study in run.studies
        if study.dropped
    ]
    more = f" and {len(stopped) - 3} more" if len(stopped) > 3 else ""
    return f"{shares} of {text.seconds(sum(row.spent_s for row in spent))}{''.join(stopped[:3])}{more}"


def predictions_of(run: Run, family: str) -> list[Prediction]:
    """The predictions of a family's trials in start order.

    Trials that another one answered, that the budget cut or that did not complete have no comparable outcome.
    """
    return [
        Prediction(trial.forecast, trial.took_s)
        for trial in run.trials
        if trial.family == family and trial.state == COMPLETE and trial.forecast and not trial.duplicate_of
        if not trial.cut and trial.took_s > 0
    ]


def spending(run: Run) -> list[Spending]:
    """The part of the budget that each family got that was tried or dropped, in the order of the families."""
    trials = {family.name: [trial for trial in run.trials if trial.family == family.name] for family in run.families}
    spent_s = {
        name: sum(trial.took_s for trial in trials[name]) for name in trials if trials[name] or _dropped(run, name)
    }
    total_s = sum(spent_s.values())
    rows = []
    for name, seconds in spent_s.items():
        counted = [trial for trial in trials[name] if trial.counted]
        predicted = predictions_of(run, name)
        known = sum(trial.known for trial in counted)
        rows.append(
            Spending(
                family=name,
                known=known,
                proposed=len(counted) - known,
                spent_s=seconds,
                share=seconds / total_s if total_s else 0.0,
                saved=saved(run, name),
                first=predicted[0] if predicted else None,
                error=median(prediction.error for prediction in predicted[1:]) if predicted[1:] else None,
                dropped=_dropped(run, name),
            )
        )
    return rows


def _dropped(run: Run, family: str) -> list[str]:
    studies = [study for study in run.studies if study.family == family and study.dropped]
    return [
        f"{f'{study.engine}: ' if len(run.config.engines) > 1 else ''}"
        f"no more trials after {text.seconds(study.dropped_s)}: {study.dropped}"
        for study in studies
    ]


def forecast_quality(run: Run) -> str:
    """Say how far the forecasts were from the outcomes; "" without any."""
    by_family = [predictions_of(run, family.name) for family in run.families]
    first = [predicted[0] for predicted in by_family if predicted]
    later = [prediction for predicted in by_family for prediction in predicted[1:]]
    if not first:
        return ""
    factors = [prediction.factor for prediction in first]
    trials = text.plural(len(first), "first trial")
    words = [f"The forecasts of the families' {trials} were off by a factor of {median(factors):.1f} in the median"]
    words[0] += f", of {max(factors):.1f} at most"
    if later:
        error = text.percent(median(prediction.error for prediction in later))
        words.append(f"those of the {text.plural(len(later), 'later trial')} by {error} in the median")
    inside = sum(prediction.inside for prediction in [*first, *later])
    return f"{', '.join(words)}. {inside} of {len(first) + len(later)} outcomes are in the 90\u202f% interval."
