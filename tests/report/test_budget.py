"""The section on the budget: the plan, what families got of it, how good the forecasts were."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.records import PRUNED, Ending, Forecast, Origin, Run, RunStatus, SearchPlan, Study, Trial
from bench.report.sections import budget
from bench.report.sections.reproduce import trial_table

from .conftest import BAYESIAN, TPE, plain, run_of, section, trial


def words(run: Run, name: str = "budget") -> str:
    return plain(section(run, name))


def predicted(family: str, number: int, forecast_s: float, took_s: float, **more: object) -> Trial:
    """A trial with a forecast, 20 % to both sides."""
    forecast = Forecast(forecast_s, 0.8 * forecast_s, 1.2 * forecast_s, forecast_s, 1.0, 500.0, 0.0)
    base = trial(family, TPE, number, number + 1, 0.8, 1.0, 10, started_s=100.0 * number, forecast=forecast)
    return replace(base, finished_s=base.started_s + took_s, **more)  # type: ignore[arg-type]


@pytest.fixture
def run() -> Run:
    return run_of(
        predicted("cnn", 0, 20.0, 10.0, origin=Origin.KNOWN),
        predicted("cnn", 1, 11.0, 10.0),
        predicted("cnn", 2, 7.0, 10.0),
        predicted("cnn", 3, 50.0, 10.0, ending=Ending.BUDGET),
        predicted("cnn", 4, 50.0, 10.0, state=PRUNED),
        predicted("vgg16", 0, 50.0, 50.0),
    )


def test_a_family_that_was_dropped_before_its_first_trial_says_why(run: Run) -> None:
    reason = "screened: 58.0 %; the probability that another improves is below 1.0 %"
    vgg19 = Study("vgg19", TPE, dropped=reason, dropped_s=70.0)
    families = (*run.families, replace(run.families[0], name="vgg19"))
    more = replace(run, families=families, studies=(*run.studies, vgg19))
    assert [row.family for row in budget.spending(more)] == ["cnn", "vgg16", "vgg19"]
    assert "no more trials after 1 min 10 s: screened: 58.0 %" in words(more)


def test_a_family_has_its_trials_its_share_and_its_errors(run: Run) -> None:
    cnn, vgg16 = budget.spending(run)
    assert (cnn.family, cnn.known, cnn.proposed, cnn.spent_s, cnn.share) == ("cnn", 1, 4, 50.0, 0.5)
    assert cnn.first is not None
    assert cnn.first.factor == 2.0
    assert cnn.error == pytest.approx(0.2)  # of 10 % and 30 %; cut and pruned trials have no comparable outcome
    assert vgg16.error is None


def test_the_quality_of_the_forecasts_is_a_sentence(run: Run) -> None:
    assert (
        "The forecasts of the families' 2 first trials were off by a factor of 1.5 in the median, of 2.0 at most, "
        "those of the 2 later trials by 20.0 % in the median. 2 of 4 outcomes are in the 90 % interval."
    ) in words(run)


def test_a_family_that_got_no_more_trials_says_when_and_why(run: Run) -> None:
    studies = [replace(study, dropped="it cannot catch up", dropped_s=185.0) for study in run.studies[:1]]
    assert "Got no more trials" not in words(run)
    text = words(replace(run, studies=(*studies, *run.studies[1:])))
    assert "no more trials after 3 min 5 s: it cannot catch up" in text


def test_the_summary_has_the_largest_shares_and_who_was_stopped(run: Run) -> None:
    assert plain(budget.section(run).summary) == "cnn 50.0 % and vgg16 50.0 % of 1 min 40 s"
    studies = [replace(study, dropped="it cannot catch up", dropped_s=185.0) for study in run.studies[:1]]
    stopped = replace(run, studies=(*studies, *run.studies[1:]))
    assert plain(budget.section(stopped).summary).endswith("of 1 min 40 s; cnn stopped at 3 min 5 s")


def test_forecasts_are_in_the_table_of_every_trial(run: Run) -> None:
    table = trial_table(run)
    assert dict(zip(table["columns"], table["rows"][0], strict=True))["forecast_time_s"] == 20


def test_a_run_without_forecasts_has_no_columns_for_them() -> None:
    run = run_of(trial("cnn", TPE, 0, 1, 0.8, 1.0, 10))
    assert budget.forecast_quality(run) == ""
    assert "First trial: forecast" not in words(run)
    assert budget.section(run_of()).summary == ""


def test_the_plan_is_on_the_page_before_the_first_trial() -> None:
    plan = SearchPlan(engines=(TPE, BAYESIAN), trials=12, seconds=None, known=3, families=2, baselines=("dummy",))
    assert (
        "Plan: 12 trials for each engine: 3 known configurations first, then 9 proposals by optuna:tpe and 9 proposals "
        "by keras-tuner:bayesian; dummy takes one trial, since it cannot learn."
    ) in words(run_of(status=RunStatus.RUNNING, plan=plan))
    assert plain(budget.section(run_of(plan=plan)).summary).startswith("plan: 12 trials for each engine: 3 known")
    timed = replace(plan, engines=(TPE,), trials=None, seconds=360.0, baselines=("dummy", "majority"))
    assert (
        "Plan: 6 min: 3 known configurations first, then proposals by optuna:tpe; dummy and majority take one trial "
        "each, since they cannot learn."
    ) in words(run_of(plan=timed))
