"""The file of what a run came to: written by every run, read by the gate, refused where anything is wrong with it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench import Budget, RunConfig, runner
from bench.errors import BaselineError, RunFolderError, WorkerError
from bench.records import Epoch, Prefix, Run, RunStatus, SplitInfo, steady
from bench.runs import predictions, results, store
from bench.runs.results import FamilyStatus, Results
from bench.search.progress import Progress
from bench.search.scoring import add_seeds
from bench.testing import FakePool


def depth(hp: Any, family: str) -> None:
    hp.Int("depth", 1, 9)


def by_depth(family: str, params: Any) -> float:
    if family == "broken":
        raise ValueError("no such layer\nin /home/somebody/secret")
    return float(params["depth"]) / 10


@pytest.fixture
def made(tmp_path: Path, space: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Runs the driver on fake families; 400 drawn pictures are a test part of 80."""
    monkeypatch.chdir(tmp_path)

    def run(families: tuple[str, ...] = ("a", "b"), name: str = "run", **more: Any) -> Run:
        config = {"images": 400, "budget": Budget(4), "seed": 7, "repeats": 2, **more}
        spaces = tuple(space(family) for family in families)
        return runner.run(RunConfig(out=name, spaces=spaces, **config), pool=FakePool(depth, by_depth, epochs=3))

    return run


PLAIN = RunConfig(budget=Budget(50))
SETTLED = RunConfig(budget=Budget(50), until_settled=True)


def unscored(config: RunConfig) -> Run:
    split = SplitInfo("", (), {}, "")
    return Run(
        path=Path(),
        status=RunStatus.COMPLETE,
        created_utc="",
        config=config,
        environment={},
        split=split,
        families=(),
        studies=(),
    )


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


# -- of a run


@pytest.mark.slow
@pytest.mark.storage
def test_a_run_leaves_what_it_came_to(made: Callable[..., Run]) -> None:
    run = made(families=("a", "b", "broken"))
    found = results.read(run.path / results.FILE)
    assert (found.run, found.status, found.tool_version) == ("run", "complete", bench.__version__)
    assert found.split.n == sum(found.split.class_counts.values()) == run.split.n("test") == 240
    assert found.split.sha256 == run.split.sha256
    own = found.families["a"]
    chosen = run.best("a")
    assert chosen
    assert (own.status, own.seeds, dict(own.params)) == (FamilyStatus.COMPLETE, (7, 8, 9), dict(chosen.params))
    assert own.accuracy == pytest.approx(chosen.test_accuracy)
    assert own.parameters == 10
    assert len(own.step_time_s) == 0  # the fake trains nothing
    broken = found.families["broken"]
    assert broken.status == FamilyStatus.FAILED
    assert broken.reason == "no complete trial out of 1; the last failure: ValueError: no such layer in ~/secret"
    own = found.families["b"]
    chosen = run.best("b")
    assert chosen
    scored = predictions.of_seeds(run, chosen)
    assert list(scored) == [0, 1, 2]
    for bits, each in zip(own.correct, scored.values(), strict=True):
        order = np.argsort(each.sha256)
        assert bits.tolist() == each.right[order].tolist()
    assert len({bits.tobytes() for bits in own.correct}) > 1


@pytest.mark.slow
@pytest.mark.storage
def test_the_same_run_has_the_same_results_and_other_pictures_or_settings_another_digest(
    made: Callable[..., Run],
) -> None:
    first, again, pictures, settings = (
        results.of_run(made(name=name, **more))
        for name, more in (("one", {}), ("two", {}), ("three", {"images": 396}), ("four", {"epochs": 4}))
    )
    assert first.split == again.split == settings.split
    assert first.config_sha256 == again.config_sha256 == pictures.config_sha256
    for family in first.families:
        assert np.array_equal(first.families[family].correct, again.families[family].correct)
    assert first.split.test_ids_sha256 != pictures.split.test_ids_sha256
    assert first.config_sha256 != settings.config_sha256


def test_a_run_compares_with_a_file_that_is_older_than_a_setting() -> None:
    settings = {config: results._comparable_settings(unscored(config)) for config in (PLAIN, SETTLED)}
    assert settings[PLAIN]["folds"] == 0
    assert "until_settled" not in settings[PLAIN]
    assert settings[SETTLED] == settings[PLAIN] | {"until_settled": True}


def test_this_project_s_gate_compares_with_its_baseline() -> None:
    """A new comparable setting must be in `NEWER_SETTINGS`, or the gate's baseline must be renewed."""
    config = RunConfig(only_known=True, epochs=16, patience=16)  # as in tox.ini
    baseline = Path(__file__).parents[1] / "gate" / "baseline.json"
    assert results._comparable_settings(unscored(config)) == results.read(baseline).config


@pytest.mark.slow
@pytest.mark.storage
def test_where_predictions_are_lost_a_family_counts_as_not_scored(made: Callable[..., Run]) -> None:
    run = made(families=("a", "b", "c"), budget=Budget(2))
    predictions.path(run.path, "a").unlink()
    predictions.path(run.path, "b", 2).write_bytes(b"PK")
    (run.path / results.FILE).unlink()
    found = results.of_path(run.path)
    assert found.families["a"].status == FamilyStatus.UNSCORED
    assert "missing or damaged" in found.families["a"].reason
    assert found.families["b"].seeds == (7, 8)
    assert found.families["c"].status == FamilyStatus.UNTRIED


@pytest.mark.slow
@pytest.mark.storage
def test_the_step_times_of_all_seeds_count_and_the_cores_that_a_trial_had(made: Callable[..., Run]) -> None:
    run = made(families=("a",))
    trial = run.best("a")
    assert trial
    assert trial.cost
    timed = replace(
        trial,
        history=tuple(
            replace(epoch, step_time_s=epoch.epoch / 100, step_cpu_s=epoch.epoch / 50) for epoch in trial.history
        ),
        repeats=tuple(replace(repeat, step_time_s=(0.1, 0.2), step_cpu_s=(0.3,)) for repeat in trial.repeats),
        prefixes=(Prefix("head"), Prefix("fine-tuning", used=True)),
        cost=replace(trial.cost, cores=3),
    )
    studies = tuple(
        replace(study, trials=tuple(timed if each == trial else each for each in study.trials)) for study in run.studies
    )
    found = results.of_run(replace(run, studies=studies))
    assert found.families["a"].step_time_s == (0.02, 0.03, 0.1, 0.2, 0.1, 0.2)
    assert found.families["a"].step_cpu_s == (0.04, 0.06, 0.3, 0.3)
    assert found.families["a"].on_features
    assert found.env.cores == 3


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        results.of_path(tmp_path)


def test_the_time_of_a_step_is_that_of_the_last_phase_without_its_first_epoch() -> None:
    times = [("head", 9.0), ("head", 1.0), ("fine-tuning", 8.0), ("fine-tuning", 2.0), ("fine-tuning", 3.0)]
    history = [Epoch(n, 0.5, 0.5, 0.5, 0.5, 1.0, phase, time) for n, (phase, time) in enumerate(times, start=1)]
    assert [epoch.step_time_s for epoch in steady(history)] == [2.0, 3.0]
    assert steady([replace(epoch, step_time_s=None) for epoch in history]) == ()
    assert steady([]) == ()


@pytest.mark.slow
@pytest.mark.storage
def test_a_run_by_another_metric_leaves_its_values_and_scores_by_class(made: Callable[..., Run]) -> None:
    run = made(families=("a",), metric=("macro_f1", "accuracy"))
    written = results.read(run.path / results.FILE)
    assert written.config["metric"] == ["macro_f1"]  # the others decide nothing
    assert written.metric.name == "macro_f1"
    family, chosen = written.families["a"], run.best("a")
    assert chosen
    assert family.value == pytest.approx(chosen.test_value, abs=1e-7)
    assert family.values.shape == family.correct.shape == (3, 240)
    scored = predictions.of_seeds(run, chosen)
    for values, predicted in zip(family.values, scored.values(), strict=True):
        exact = predicted.values(run.metric)[np.argsort(predicted.sha256)]
        assert values == pytest.approx(exact, rel=1e-6)
    assert np.array_equal(results.of_run(run).families["a"].values, family.values)
    for name, count in written.split.class_counts.items():
        assert family.classes[name]["support"] == count
        recall, low, high = family.classes[name]["recall"]  # type: ignore[misc]
        assert low < recall < high


# -- as a file


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A file of 13 test pictures: two families with two seeds, one that failed."""
    draw = np.random.default_rng(0)
    families = {
        name: results.FamilyResult(
            FamilyStatus.COMPLETE, weights="imagenet", params={"depth": 3, "rate": 0.1, "flat": None}, parameters=10,
            seeds=(0, 1), correct=draw.random((2, 13)) < 0.8, step_time_s=(0.00123456, 0.002),
            step_cpu_s=(0.003, 0.004),
            file_sha256="ef" * 32,
        )
        for name in ("cnn", "vgg16")
    }  # fmt: skip
    made = Results(
        run="20261121T090000-drawn",
        status="complete",
        created_utc="2026-11-21T09:00:00Z",
        git_sha="0123456789ab",
        tool_version="0.1.0",
        config={"epochs": 10, "engines": ["optuna:tpe"]},
        split=results.Split("drawn", "ab", "cd", 13, {"cats": 6, "dogs": 7}),
        env=results.Environment("3.11.7", "3.15.1", "tensorflow 2.21.0", "A processor", 2, ""),
        families={**families, "mine": results.FamilyResult(FamilyStatus.FAILED, "no complete trial out of 3")},
    )
    results.write(tmp_path / "baseline.json", made)
    return tmp_path / "baseline.json"


def test_what_is_read_is_what_was_written_byte_for_byte(saved: Path, tmp_path: Path) -> None:
    results.write(tmp_path / "again.json", results.read(saved))
    assert (tmp_path / "again.json").read_bytes() == saved.read_bytes()


@pytest.fixture
def of_log_loss(saved: Path) -> Path:
    """The same file by another metric."""
    read, draw = results.read(saved), np.random.default_rng(1)
    values = draw.exponential(size=(2, 13)).astype(np.float32).astype(np.float64)
    families = {
        name: replace(family, values=values) if family.seeds else family for name, family in read.families.items()
    }
    results.write(saved, replace(read, config={**read.config, "metric": ["log_loss"]}, families=families))
    return saved


def test_values_of_another_metric_are_read_as_they_were_written(of_log_loss: Path, tmp_path: Path) -> None:
    read = results.read(of_log_loss)
    assert read.metric.name == "log_loss"
    assert read.families["cnn"].value == pytest.approx(read.families["cnn"].values.mean())
    assert read.families["cnn"].accuracy == pytest.approx(read.families["cnn"].correct.mean())
    results.write(tmp_path / "again.json", read)
    assert (tmp_path / "again.json").read_bytes() == of_log_loss.read_bytes()


def test_a_file_of_accuracy_has_nothing_of_other_metrics(saved: Path) -> None:
    assert not {"value", "values", "values_sha256"} & json.loads(saved.read_text())["families"]["cnn"].keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda family: family["values"].__setitem__(0, family["values"][1]), "values do not match values_sha256"),
        (lambda family: family["values"].pop(), "values must be 13 numbers of every one of 2 seeds"),
        (lambda family: family["values"].__setitem__(0, "AAAA"), "values must be 13 numbers of every one of 2 seeds"),
        (lambda family: family.pop("values"), "values must be 13 numbers of every one of 2 seeds"),
        (lambda family: family.pop("values_sha256"), "values do not match values_sha256"),
    ],
)
def test_damaged_values_are_refused(of_log_loss: Path, change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(BaselineError, match=message):
        results.read(changed(of_log_loss, lambda data: change(data["families"]["cnn"])))


def test_an_unknown_metric_is_refused(of_log_loss: Path) -> None:
    read = results.read(of_log_loss)
    results.write(of_log_loss, replace(read, config={"metric": ["quality"]}))
    with pytest.raises(BaselineError, match="config: unknown metric 'quality'"):
        results.read(of_log_loss)


def test_an_older_file_has_no_hashes_of_the_families(saved: Path) -> None:
    assert results.read(saved).families["cnn"].file_sha256 == "ef" * 32
    changed(saved, lambda data: data["families"]["cnn"].pop("file_sha256"))
    assert results.read(saved).families["cnn"].file_sha256 == ""


def test_a_change_of_one_figure_is_a_line_of_a_diff(saved: Path, tmp_path: Path) -> None:
    before = results.read(saved)
    cnn = replace(before.families["cnn"], parameters=11)
    results.write(tmp_path / "after.json", replace(before, families={**before.families, "cnn": cnn}))
    lines = zip(saved.read_text().splitlines(), (tmp_path / "after.json").read_text().splitlines(), strict=True)
    assert [one.strip() for one, other in lines if one != other] == ['"parameters": 10,']


def test_a_file_that_is_cut_short_anywhere_is_refused_in_one_line(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes().rstrip()
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.json").write_bytes(whole[:end])
        with pytest.raises(BaselineError, match=r"cut\.json: ") as caught:
            results.read(tmp_path / "cut.json")
        assert "\n" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="python -m bench baseline RUN"):
        results.read(tmp_path / "baseline.json")


def test_what_is_no_file_is_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path, tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(BaselineError, match="not a regular file"):
            results.read(path)


def test_a_newer_file_is_refused(saved: Path) -> None:
    with pytest.raises(BaselineError, match=r"schema version 2, this bench .* knows up to 1; update bench"):
        results.read(changed(saved, lambda data: data.update(schema_version=2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["families"]["cnn"]["accuracy"].__setitem__(0, 0.5), "cnn: seed 0: accuracy 0.5, but its"),
        (lambda data: data["families"]["cnn"]["correct"].__setitem__(0, "AAAA"), "24 bits for 13 test pictures"),
        (lambda data: data["families"]["cnn"]["correct"].__setitem__(0, "//8="), "bits after the last"),
        (lambda data: data["families"]["cnn"]["correct"].__setitem__(0, "?"), "cnn: Invalid base64"),
        (lambda data: data["families"]["cnn"]["seeds"].pop(), "1 seeds, 2 accuracies, 2 bitsets"),
        (
            lambda data: data["families"]["cnn"].update(status="fine"),
            "cnn: Invalid enum value 'fine' - at `\\$.status`",
        ),
        (lambda data: data["families"]["mine"].update(status="complete"), "mine: is complete, with 0 seeds"),
        (lambda data: data["families"]["cnn"].update(parameters=-1), "cnn: Expected `int` >= 0 - at `\\$.parameters`"),
        (lambda data: data["families"]["cnn"].update(step_time_s=["fast"]), "got `str` - at"),
        (lambda data: data["families"]["cnn"].pop("weights"), "cnn: 'weights' is missing"),
        (lambda data: data["split"].update(n=14), "class_counts do not sum to n=14"),
        (lambda data: data["split"].pop("n"), "required field `n` - at `\\$.split`"),
        (lambda data: data["split"].update(source=5), "Expected `str`, got `int` - at `\\$.split.source`"),
        (lambda data: data["env"].update(cpu=None), "got `null` - at `\\$.env.cpu`"),
        (lambda data: data["env"].update(cores="two"), "got `str` - at `\\$.env.cores`"),
        (lambda data: data["families"]["cnn"].update(seeds=[1, 1]), "a seed occurs twice in"),
        (lambda data: data["config"].update(epochs=11), "config does not match config_sha256"),
        (lambda data: data.update(families=[]), "damaged"),
        (lambda data: data.update(schema_version="1"), "has no schema_version"),
    ],
)
def test_a_damaged_file_is_refused_and_says_where(saved: Path, change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(BaselineError, match=message):
        results.read(changed(saved, change))


def test_not_a_number_is_refused(saved: Path) -> None:
    saved.write_text(saved.read_text().replace("0.001235", "NaN"))
    with pytest.raises(BaselineError, match=r"cnn: Expected `float` >= 0.0 - at `\$.step_time_s"):
        results.read(saved)


# -- more seeds


@pytest.mark.slow
@pytest.mark.storage
def test_calibration_trains_the_missing_seeds_and_records_them_as_a_run_would_have(made: Callable[..., Run]) -> None:
    short, long = made(name="short", repeats=1), made(name="long", repeats=4)
    pool = FakePool(depth, by_depth, epochs=3)
    calibrated = add_seeds(short, 5, Progress(), pool)
    assert [params for _, params in pool.trained] == [dict(t.params) for t in short.ranking() for _ in range(3)]
    assert calibrated.status == "complete"
    for family in "ab":
        one, other = calibrated.best(family), long.best(family)
        assert one
        assert other
        assert [repeat.number for repeat in one.repeats] == [1, 2, 3, 4]
        assert one.over_seeds == other.over_seeds
    found = results.read(short.path / results.FILE)
    assert found.families["a"].seeds == (7, 8, 9, 10, 11)
    assert found.families["a"].seed_sd == pytest.approx(np.std(found.families["a"].accuracies, ddof=1))
    assert add_seeds(calibrated, 5, Progress(), pool) == calibrated
    assert len(pool.trained) == 6  # nothing more
    assert store.load(short.path) == replace(calibrated, elapsed_s=store.load(short.path).elapsed_s)
    assert re.search(r"5\sseeds", (short.path / "report.html").read_text())


@pytest.mark.slow
@pytest.mark.storage
def test_calibration_is_refused_where_a_family_is_another_one_now(made: Callable[..., Run], tmp_path: Path) -> None:
    run = made(repeats=0)
    second = tmp_path / "spaces" / f"{run.ranking()[1].family}.py"
    second.write_text(second.read_text() + "\n# another version\n")
    pool = FakePool(depth, by_depth)
    with pytest.raises(RunFolderError, match="was changed after the run run"):
        add_seeds(run, 3, Progress(), pool)
    assert pool.trained == []


@pytest.mark.slow
@pytest.mark.storage
def test_where_a_training_fails_the_families_before_it_are_kept(made: Callable[..., Run]) -> None:
    run = made(repeats=0)
    first, second = (trial.family for trial in run.ranking())

    def fails(family: str, params: Any) -> float:
        if family == second:
            raise MemoryError("no room")
        return by_depth(family, params)

    with pytest.raises(WorkerError, match=f"{second} with another seed: OOM: no room"):
        add_seeds(run, 3, Progress(), FakePool(depth, fails))
    kept = store.load(run.path)
    assert {trial.family: len(trial.repeats) for trial in kept.ranking()} == {first: 2, second: 0}
