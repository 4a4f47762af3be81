"""The storage of a run that goes on: what another process finds in the database, and when."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from bench.engines import storage
from bench.engines.storage import WriteBehindStorage


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.sqlite3'}"


@pytest.fixture
def behind(url: str) -> WriteBehindStorage:
    return WriteBehindStorage(optuna.storages.RDBStorage(url))


def study_of(behind: WriteBehindStorage) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=behind, direction="maximize", load_if_exists=True)


def begin(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_categorical("kind", ["dense", "conv"])
    trial.set_user_attr("origin", {"order": 1})
    trial.report(0.25, 1)
    return trial


def there(url: str) -> list[FrozenTrial]:
    """What whoever opens the database finds."""
    return optuna.load_study(study_name="s", storage=url).trials


def said(trial: FrozenTrial) -> tuple[object, ...]:
    return (
        trial.number, trial.state, trial.values, trial.params, trial.distributions, trial.user_attrs,
        trial.system_attrs, trial.intermediate_values,
    )  # fmt: skip


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
@pytest.mark.parametrize("shown", [False, True], ids=["short", "shown while it ran"])
def test_a_trial_that_ended_is_there_with_all_it_has(
    url: str, behind: WriteBehindStorage, state: TrialState, shown: bool
) -> None:
    study = study_of(behind)
    trial = begin(study)
    if shown:
        behind.write(everything=True)
    trial.suggest_int("units", 1, 9)
    trial.report(0.5, 2)
    trial.set_user_attr("origin", {"order": 2})
    trial.set_user_attr("note", "x")
    behind.set_trial_system_attr(trial._trial_id, "rung", 1)
    study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state)
    behind.write()
    (found,) = there(url)
    assert said(found) == said(study.trials[0])
    assert found.intermediate_values == {1: 0.25, 2: 0.5}
    assert found.datetime_complete is not None


def test_a_running_trial_is_shown_when_it_has_run_for_a_while(
    url: str, behind: WriteBehindStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = study_of(behind).ask()
    behind.write()
    assert there(url) == []
    monkeypatch.setattr(storage, "WRITE_EVERY_S", 0.0)
    behind.write()
    assert [(each.state, each.params) for each in there(url)] == [(TrialState.RUNNING, {})]
    trial.suggest_int("units", 1, 1)
    trial.report(0.25, 1)
    behind.write()
    assert [each.params for each in there(url)] == [{"units": 1}]
    assert [(each.state, each.intermediate_values) for each in there(url)] == [(TrialState.RUNNING, {1: 0.25})]
    trial.report(0.5, 2)
    behind.write()
    assert [(each.state, each.intermediate_values) for each in there(url)] == [(TrialState.RUNNING, {1: 0.25, 2: 0.5})]


def test_a_pruner_sees_every_epoch_before_it_is_written(url: str, behind: WriteBehindStorage) -> None:
    study = study_of(behind)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    good, poor = study.ask(), study.ask()
    good.report(0.9, 1)
    study.tell(good, 0.9)
    poor.report(0.1, 1)
    assert poor.should_prune()
    assert there(url) == []


def test_trials_that_end_in_another_order_keep_their_numbers(url: str, behind: WriteBehindStorage) -> None:
    study = study_of(behind)
    first, second, third = begin(study), begin(study), begin(study)
    study.tell(second, 0.5)
    behind.write()
    assert [each.state.name for each in there(url)] == ["RUNNING", "COMPLETE"]
    study.tell(third, 0.6)
    study.tell(first, 0.7)
    behind.write()
    assert [(each.number, each.value) for each in there(url)] == [(0, 0.7), (1, 0.5), (2, 0.6)]


def test_attributes_of_a_study_are_there_at_once(url: str, behind: WriteBehindStorage) -> None:
    study_of(behind).set_user_attr("family", "cnn")
    assert optuna.load_study(study_name="s", storage=url).user_attrs == {"family": "cnn"}


def test_a_study_is_gone_on_with(url: str, behind: WriteBehindStorage) -> None:
    study = study_of(behind)
    study.set_user_attr("family", "cnn")
    study.tell(begin(study), 0.5)
    begin(study)
    behind.write(everything=True)  # and the program is killed

    later = WriteBehindStorage(optuna.storages.RDBStorage(url))
    study = study_of(later)
    assert study.user_attrs == {"family": "cnn"}
    assert [each.state.name for each in study.trials] == ["COMPLETE", "RUNNING"]
    study.tell(1, state=TrialState.FAIL)
    study.tell(begin(study), 0.9)
    later.write()
    assert [each.state.name for each in there(url)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert optuna.load_study(study_name="s", storage=url).best_value == 0.9


def test_studies_of_others_in_the_same_database_are_left_alone(url: str, behind: WriteBehindStorage) -> None:
    other = optuna.create_study(study_name="other", storage=url)
    other.tell(other.ask(), 1.0)
    study = study_of(behind)
    study.tell(begin(study), 0.5)
    behind.write()
    assert [each.study_name for each in behind.get_all_studies()] == ["s"]
    assert len(optuna.load_study(study_name="other", storage=url).trials) == 1


def test_a_deleted_study_is_gone(url: str, behind: WriteBehindStorage) -> None:
    study = study_of(behind)
    begin(study)
    optuna.delete_study(study_name="s", storage=behind)
    behind.write(everything=True)
    assert optuna.get_all_study_names(url) == []
