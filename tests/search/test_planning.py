"""The estimate of a run before it: costs of families, number of trials, total time, warnings."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench import RunConfig, runner, workers
from bench.cli import parser
from bench.config import Budget
from bench.errors import DataError
from bench.records import PhaseWork, Work
from bench.search import planning
from bench.search.progress import Progress
from bench.testing import FakePool

MACS = 10**6


def work(family, params):
    """Ten epochs; a configuration of depth d needs d times the computations of one of depth 1."""
    if family == "dummy":
        return Work()
    phase = PhaseWork(10, macs=MACS * params["depth"] * (100 if family == "large" else 1))
    return Work(parameters=params["depth"] * 1000, batch_size=32, phases=(phase,))


def build(hp, family):
    hp.Int("depth", 1, 9)


KNOWN = {"small": [{"depth": 2}, {"depth": 3}], "large": [{"depth": 2}], "dummy": [{"depth": 1}]}


@pytest.fixture
def pool():
    def make(**more):
        return FakePool(build, lambda family, params: 0.5, known=KNOWN, baselines=["dummy"], work=work, **more)

    return make


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """No rates of earlier runs."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def config(space):
    def make(*families, **more):
        return RunConfig(
            spaces=tuple(space(name) for name in families or ("small", "large", "dummy")), images=24, **more
        )

    return make


def rows(estimate):
    return {family.info.name: family for family in estimate.families}


def test_further_test_sets_are_in_the_estimate(config, pool):
    def counted(family, params):
        return replace(work(family, params), macs=MACS)

    plain, further = (
        planning.plan(config("small", **more), pool=FakePool(build, lambda family, params: 0.5, KNOWN, work=counted))
        for more in ({}, {"also_test": ("corrupted",)})
    )
    assert rows(further)["small"].scoring_s > rows(plain)["small"].scoring_s
    with pytest.raises(DataError, match=r"also-test '\./nowhere'"):
        planning.plan(config("small", also_test=("./nowhere",)), pool=pool())


def test_trials_are_divided_as_in_the_run(config, pool, tmp_path):
    settings = config(budget=Budget(trials=9))
    estimate = planning.plan(settings, pool=pool())
    run = runner.run(replace(settings, out=str(tmp_path / "run")), pool=pool())
    for name, family in rows(estimate).items():
        trials = [trial for trial in run.trials if trial.family == name and trial.counted]
        assert family.known == sum(trial.known for trial in trials), name
        assert family.known + family.proposed == len(trials), name
    assert estimate.trials == 9
    assert estimate.plan == run.plan


def test_proposals_cost_what_the_engine_draws_before_it_has_results(config, tmp_path):
    counted = []

    def wide(hp, family):
        hp.Int("depth", 1, 1000)

    def noted(family, params):
        counted.append(params["depth"])
        return work(family, params)

    settings, fake = config("small", budget=Budget(trials=4)), FakePool(wide, lambda *_: 0.5, known=KNOWN)
    runner.run(replace(settings, out=str(tmp_path / "run")), pool=fake)
    trained = [params["depth"] for _, params in fake.trained]
    planning.plan(settings, pool=FakePool(wide, lambda *_: 0.5, known=KNOWN, work=noted))
    assert trained[0] == 2
    assert counted[-planning.PROPOSALS] == trained[1]  # later ones depend on results


def test_nothing_is_trained_downloaded_or_recorded(config, pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake = pool()
    planning.plan(config(budget=Budget(trials=9)), pool=fake)
    assert fake.trained == []
    assert fake.closed
    assert not (tmp_path / "reports").exists()


def test_the_total_is_that_of_the_forecasts(config, pool):
    estimate = planning.plan(config(budget=Budget(trials=9)), pool=pool())
    assert estimate.search_s == pytest.approx(sum(family.time_s for family in estimate.families))
    assert estimate.time_s == pytest.approx(estimate.preparation_s + estimate.search_s + estimate.closing_s)
    assert estimate.low_s < estimate.time_s < estimate.high_s
    two = planning.plan(config(budget=Budget(trials=9), workers=2), pool=pool())
    assert two.search_s < estimate.search_s


def test_a_time_budget_buys_fewer_trials_of_dear_families(config, pool):
    estimate = planning.plan(config("small", "large", budget=Budget(None, 40.0)), pool=pool())
    family = rows(estimate)
    assert estimate.time_s == estimate.high_s == 40.0
    assert family["small"].proposed > family["large"].proposed
    assert sum(row.time_s for row in family.values()) <= 40.0


def test_a_budget_below_the_cheapest_trial_is_warned_of(config, pool, tmp_path):
    class Warned(Progress):
        def __init__(self):
            self.warnings = []

        def warning(self, text):
            self.warnings.append(text.replace("\N{NO-BREAK SPACE}", " "))

    short = config(budget=Budget(None, 1.0))
    (warning,) = [text for text in planning.plan(short, pool=pool()).warnings if "buy" in text]
    assert warning.startswith("small takes about ")
    assert warning.replace("\N{NO-BREAK SPACE}", " ").endswith(": 1.0 s buy nothing but dummy")
    warned = Warned()
    runner.run(replace(short, out=str(tmp_path / "run")), warned, pool=pool())
    assert [text for text in warned.warnings if "buy nothing but dummy" in text]
    assert not [
        text for text in planning.plan(config(budget=Budget(None, 600.0)), pool=pool()).warnings if "buy" in text
    ]


def test_features_are_paid_once(config, pool):
    def frozen(family, params):
        return Work(phases=(PhaseWork(10, macs=10, prefix_macs=10**9, row_bytes=10),))

    fake = FakePool(build, lambda *_: 0.5, known=KNOWN, work=frozen)
    family = rows(planning.plan(config("small", budget=Budget(trials=4)), pool=fake))["small"]
    assert family.first.time_s > family.cached_s
    assert family.proposal_s == pytest.approx(family.cached_s)


def test_the_command_prints_a_row_for_each_family_or_json(config, pool, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(workers, "start", lambda config: pool())
    names = ",".join(config().spaces)
    assert parser.main(["plan", "--budget", "9", "--spaces", names, "--images", "24"]) == 0
    out = capsys.readouterr().out
    assert out.split()[0] == "family"
    for text in ("small", "large", "dummy", "depth 2", "in all (90 % interval", "plan: 9 trials"):
        assert text in out
    assert parser.main(["plan", "--budget", "9", "--spaces", names, "--images", "24", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"families", "time_s", "low_s", "high_s", "trials", "unreached", "warnings"} <= set(printed)
    assert printed["families"][0]["info"]["name"] == "dummy"


def test_every_setting_of_run_is_an_option_of_plan(capsys):
    for command in ("run", "plan"):
        with pytest.raises(SystemExit):
            parser.main([command, "--help"])
    run, plan = capsys.readouterr().out.split("usage: ")[1:]
    assert "--allocation" in plan
    assert plan.count("\n  --") == run.count("\n  --") - 1  # --quiet
