"""Limits on parameters, size and latency: what is refused, what it costs, and what is said about it."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench
from bench import Budget, RunConfig, runner, text
from bench.config import SETTINGS
from bench.errors import ConfigError
from bench.hyperparameters import HyperParameters, Value
from bench.records import Cost, Ending, Limit, Run, Work, exceeded, limits
from bench.report.sections.verdict import no_result
from bench.runs.results import of_run
from bench.search.limits import unmet
from bench.search.state import MAX_REFUSALS_IN_A_ROW
from bench.testing import FakePool
from bench.training.messages import Job, ProbeJob, ProbeResult, TrialResult, WeightsFile, WeightsJob
from bench.workers import Listener

Search = Callable[..., Run]


def build(hp: HyperParameters, family: str) -> None:
    hp.Int("width", 1, 1000)


def score(family: str, params: Mapping[str, Value]) -> float:
    return float(params["width"] or 0) / 1001


def sized(family: str, params: Mapping[str, Value]) -> Work:
    """A thousand parameters and a tenth of a millisecond for each unit of width; `wide` has ten times as many."""
    parameters = int(params["width"] or 0) * (10_000 if family == "wide" else 1000)
    return Work(parameters=parameters, model_size_mb=4e-6 * parameters, latency_ms=float(params["width"] or 0) / 10)


@pytest.fixture
def search(
    tmp_path: Path,
    space: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    in_memory: None,
) -> Search:
    """Runs the driver on families whose accuracy rises with their width, so that engines want what is refused."""
    monkeypatch.chdir(tmp_path)
    if not request.node.get_closest_marker("storage"):
        monkeypatch.setattr("bench.report.render", lambda run, path: None)

    def run(families: Sequence[str] = ("a",), pool: FakePool | None = None, **config: Any) -> Run:
        pool = pool or FakePool(build, score, work=sized)
        settings = {"images": 24, "out": str(tmp_path / "run"), "budget": Budget(12), **config}
        return runner.run(RunConfig(spaces=tuple(space(family) for family in families), **settings), pool=pool)

    return run


def plain(words: str) -> str:
    return words.replace("\u00a0", " ").replace("\u202f", " ")


# -- settings


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("max_parameters", "240k", 240_000),
        ("max_parameters", "1.5M", 1_500_000),
        ("max_parameters", "5000000", 5_000_000),
        ("max_latency_ms", "20", 20.0),
        ("max_model_mb", "0.5", 0.5),
    ],
)
def test_a_limit_is_read(name: str, words: str, value: float) -> None:
    assert SETTINGS[name].read(words) == value


@pytest.mark.parametrize(
    ("name", "words", "rule"),
    [
        ("max_parameters", "0", "max-parameters 0: must be a whole number above 0 such as 240k, 1.5M or 5000000"),
        ("max_parameters", "5 MB", "max-parameters '5 MB': must be a whole number above 0"),
        ("max_parameters", "-1", "max-parameters '-1': must be"),
        ("max_latency_ms", "20ms", "max-latency-ms '20ms': must be a number above 0"),
        ("max_model_mb", "nan", "max-model-mb 'nan': must be a number above 0"),
        ("max_model_mb", "0", "max-model-mb 0.0: must be a number above 0"),
    ],
)
def test_what_is_no_limit_is_refused(name: str, words: str, rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SETTINGS[name].read(words)
    assert str(caught.value).startswith(rule)


def test_parameters_and_size_are_checked_before_the_latency() -> None:
    config = RunConfig(max_parameters=100, max_model_mb=1.0, max_latency_ms=5)
    model = Work(parameters=101, model_size_mb=1.1, latency_ms=5.1)
    assert exceeded(limits(config), model) is Limit.PARAMETERS
    assert exceeded(limits(config), replace(model, parameters=100)) is Limit.MODEL_SIZE
    assert exceeded(limits(config), replace(model, parameters=100, model_size_mb=1.0)) is Limit.LATENCY
    assert exceeded(limits(config), Work(parameters=100, model_size_mb=1.0, latency_ms=None)) is None
    assert exceeded(limits(RunConfig()), model) is None


# -- the search


def test_a_refused_configuration_costs_no_budget_is_not_trained_and_is_counted(search: Search) -> None:
    pool = FakePool(build, score, work=sized)
    run = search(pool=pool, max_parameters=300_000)
    counted = [trial for trial in run.trials if trial.counted]
    refused = [trial for trial in run.trials if trial.ending is Ending.LIMIT]
    assert len(counted) == 12
    assert all(trial.state == "COMPLETE" and trial.params["width"] <= 300 for trial in counted)
    assert sorted(trial.order for trial in counted) == list(range(1, 13))
    assert refused
    for trial in refused:
        assert (trial.state, trial.value, trial.failure, trial.limit) == ("PRUNED", None, None, Limit.PARAMETERS)
        assert trial.work is not None
        assert trial.note == f"refused: {trial.work.parameters:,} parameters above the limit"
    trained = [params["width"] for _, params in pool.trained]
    assert max(trained) <= 300
    assert plain(text.refusals(run.trials, run.config)) == (
        f"{len(refused)} configurations refused: above 300 k parameters"
    )
    assert run.failed_families() == []


@pytest.mark.storage
def test_the_page_and_the_records_say_what_was_refused(search: Search, tmp_path: Path) -> None:
    run = search(max_parameters=600_000, max_latency_ms=40)
    counts = Counter(trial.limit for trial in run.trials if trial.limit and not trial.duplicate_of)
    words = text.refusals(run.trials, run.config)
    assert plain(words) == (
        f"{counts.total()} configurations refused: {counts[Limit.PARAMETERS]} above 600 k parameters,"
        f" {counts[Limit.LATENCY]} above 40 ms"
    )
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert words in page
    assert 'id="failures"' not in page
    assert bench.load(tmp_path / "run").trials == run.trials
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["trials"] == {"COMPLETE": 12}
    assert record["config"]["max_parameters"] == 600_000


def test_the_board_never_shows_a_model_above_a_limit(search: Search) -> None:
    """A classifier's latency is known after its training only; it is refused then, and has used its budget."""

    class Slow(FakePool):
        def _train(self, *arguments: Any) -> TrialResult:
            result = super()._train(*arguments)
            return replace(result, cost=Cost(1.0, 1.0, latency_ms=float(result.params["width"] or 0)))

    run = search(pool=Slow(build, score), max_latency_ms=500)
    counted = [trial for trial in run.trials if trial.counted]
    assert {(trial.state, trial.ending) for trial in counted} == {("COMPLETE", None), ("PRUNED", Ending.LIMIT)}
    assert len(counted) == 12
    (row,) = run.ranking()
    assert row.cost is not None
    assert row.cost.latency_ms <= 500 < max(trial.params["width"] for trial in run.trials)  # type: ignore[type-var]
    assert run.model("a").exists()
    assert json.loads(zipfile.Path(run.model("a"), "config.json").read_text())["width"] == row.params["width"]


def test_a_family_whose_proposals_are_all_refused_ends_and_the_others_get_its_share(search: Search) -> None:
    def trap(family: str, params: Mapping[str, Value]) -> Work:
        allowed = family != "a" or params["width"] == 1  # the default
        return Work(parameters=10 if allowed else 1000)

    run = search(("a", "b"), FakePool(build, score, work=trap), engines=("optuna:random",), max_parameters=100)
    by_family = Counter(trial.family for trial in run.trials if trial.counted)
    assert by_family == {"b": 12}
    assert sum(trial.ending is Ending.LIMIT for trial in run.trials) == MAX_REFUSALS_IN_A_ROW
    (note,) = run.notes
    assert note.startswith("a: optuna:random proposed nothing new within the limits (50 refused) after ")
    info = run.families[0]
    assert plain(no_result(run, info)).startswith("no trial: ")
    assert plain(no_result(run, info)).endswith("configurations refused: above 100 parameters")
    assert run.failed_families() == []
    assert of_run(run).families["a"].status == "skipped"


def test_every_engine_gets_its_own_trials_within_the_limits(search: Search) -> None:
    run = search(engines=("optuna:tpe", "optuna:random"), max_parameters=500_000)
    assert Counter(trial.engine for trial in run.trials if trial.counted) == {"optuna:tpe": 12, "optuna:random": 12}


def test_a_finite_space_is_used_up_by_what_is_refused_too(search: Search) -> None:
    def few(hp: HyperParameters, family: str) -> None:
        hp.Int("width", 1, 6)

    run = search(pool=FakePool(few, score, work=sized), budget=Budget(50), max_parameters=4000)
    assert len([trial for trial in run.trials if trial.counted]) == 4
    assert run.studies[0].exhausted
    repeated = [trial for trial in run.trials if trial.limit and trial.duplicate_of]
    assert all(trial.state == "PRUNED" for trial in repeated)
    assert plain(text.refusals(run.trials, run.config)) == "2 configurations refused: above 4 k parameters"


# -- before the search


def test_known_configurations_above_a_limit_are_left_out(search: Search) -> None:
    known: dict[str, list[dict[str, Value]]] = {"a": [{"width": 900}, {"width": 20}]}
    run = search(pool=FakePool(build, score, known, work=sized), max_parameters=100_000)
    assert run.trials[0].params == {"width": 20}
    assert run.plan is not None
    assert run.plan.known == 1
    assert any("1 of 2 known configurations left out, above a limit" in plain(note) for note in run.notes)


def test_a_family_without_a_build_within_the_limits_is_skipped_with_the_figures(search: Search) -> None:
    run = search(("a", "wide"), max_parameters=5000)
    assert {family.name: family.skipped for family in run.families} == {
        "a": "",
        "wide": "the smallest of wide has 10 k parameters: above 5 k",
    }
    assert {trial.family for trial in run.trials} == {"a"}


def test_limits_that_no_family_meets_are_an_error_before_the_search(search: Search, tmp_path: Path) -> None:
    pool = FakePool(build, score, work=sized, baselines=["dummy"])
    with pytest.raises(ConfigError) as caught:
        search(("a", "wide"), pool, max_parameters=100)
    assert str(caught.value) == (
        "no family is within the limits: the smallest of a has 1 k parameters: above 100;"
        " the smallest of wide has 10 k parameters: above 100"
    )
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"the fastest of a takes 0\.1 ms: above 0\.05 ms"):
        search(("a", "dummy"), pool, max_latency_ms=0.05)


def test_no_weights_are_looked_for_where_no_build_is_within_the_limits(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("bench.cache.downloads.fetch", lambda url, *_: asked.append(url))

    class Pretrained(FakePool):
        def _run(self, job: Job, listener: Listener) -> object:
            result = super()._run(job, listener)
            if isinstance(result, ProbeResult) and isinstance(job, ProbeJob):
                name = Path(job.path).stem
                files = (WeightsFile(name, url=f"https://host/{name}", path=name, missing=True),)
                return replace(result, weights_files=files, backbones=1)
            return WeightsFile("a") if isinstance(job, WeightsJob) else result

    search(("a", "wide"), Pretrained(build, score, work=sized), max_parameters=5000, missing_weights="random")
    assert asked == ["https://host/a"]


def test_a_family_is_skipped_for_the_limit_that_none_of_its_builds_meets() -> None:
    builds = [Work(parameters=10, latency_ms=9.0), Work(parameters=200), Work(parameters=20, latency_ms=8.0)]
    values = {Limit.PARAMETERS: 100.0, Limit.LATENCY: 5.0}
    assert plain(unmet(values, "a", builds)) == "the fastest of a takes 8 ms: above 5 ms"
    assert unmet(values, "a", [*builds, Work(parameters=20, latency_ms=4.0)]) == ""
    assert unmet(values, "a", []) == ""
