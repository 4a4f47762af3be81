"""The Optuna storage of a run that goes on: answers from memory, written behind in one transaction a trial."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

WRITE_EVERY_S = 2.0
"""A trial that has run for so long is in the backend while it runs, and what is new in it follows so often."""


@dataclass(frozen=True)
class _Open:
    """A trial that has not ended in the backend, and what that has of it: None where it was not written yet."""

    study_id: int
    written_s: float
    backend_id: int = -1
    trial: FrozenTrial | None = None


class WriteBehindStorage(InMemoryStorage):
    """Keeps the studies of one writer in memory and copies them into another storage, the backend.

    Optuna's own database storage commits every parameter, attribute and epoch by itself and reads the trial and its
    study again before each: 2 ms a time, and some thirty of them a trial. Here a trial that ends soon is inserted
    whole, and a sampler or pruner reads memory. Studies and their attributes are written at once, trials by `write`.

    Nobody else may write these studies meanwhile: a trial's number is given here.

    Args:
        backend: Where everything is kept; a study that is there already is read when it is created again.
    """

    def __init__(self, backend: BaseStorage) -> None:
        super().__init__()
        self._backend = backend
        self._backend_studies: dict[int, int] = {}
        self._open: dict[int, _Open] = {}  # by trial id, oldest first

    def write(self, everything: bool = False) -> None:
        """Writes the trials that have ended, and those that run and were last written `WRITE_EVERY_S` ago.

        Args:
            everything: Writes all that is new, however young.

        Raises:
            StorageInternalError: The database cannot be written.
        """
        now = time.monotonic()
        due = {
            trial_id
            for trial_id, known in self._open.items()
            if everything or now - known.written_s >= WRITE_EVERY_S or self.get_trial(trial_id).state.is_finished()
        }
        last = max(due, default=-1)
        for trial_id, known in list(self._open.items()):
            missing = known.trial is None and trial_id < last  # the backend numbers trials as they come
            if trial_id in due or missing:
                self._write_trial(trial_id, known, now)

    # -- studies are written at once

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Makes a study here and in the backend.

        Raises:
            DuplicatedStudyError: The backend has it; it can be used here from now on.
        """
        try:
            backend_id = self._backend.create_new_study(directions, study_name)
        except DuplicatedStudyError:
            if study_name not in {study.study_name for study in self.get_all_studies()}:
                self.read_study(str(study_name))
            raise
        study_id = super().create_new_study(directions, study_name)
        self._backend_studies[study_id] = backend_id
        return study_id

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Sets it here and in the backend."""
        super().set_study_user_attr(study_id, key, value)
        self._backend.set_study_user_attr(self._backend_studies[study_id], key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Sets it here and in the backend."""
        super().set_study_system_attr(study_id, key, value)
        self._backend.set_study_system_attr(self._backend_studies[study_id], key, value)

    def delete_study(self, study_id: int) -> None:
        """Deletes it here and in the backend."""
        for trial in self.get_all_trials(study_id, deepcopy=False):
            self._open.pop(trial._trial_id, None)
        super().delete_study(study_id)
        self._backend.delete_study(self._backend_studies.pop(study_id))

    # -- trials wait for `write`

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Makes a trial here."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._open[trial_id] = _Open(study_id, time.monotonic())
        return trial_id

    def remove_session(self) -> None:
        """Closes the backend's connections; it connects again where something more is written."""
        self._backend.remove_session()
        if isinstance(self._backend, RDBStorage):
            self._backend.engine.dispose()

    def read_study(self, name: str) -> None:
        """Reads a study of the backend, so that it can be used here.

        Raises:
            KeyError: The backend has none of that name.
        """
        backend_id = self._backend.get_study_id_from_name(name)
        study_id = super().create_new_study(self._backend.get_study_directions(backend_id), name)
        self._backend_studies[study_id] = backend_id
        for key, value in self._backend.get_study_user_attrs(backend_id).items():
            super().set_study_user_attr(study_id, key, value)
        for key, value in self._backend.get_study_system_attrs(backend_id).items():
            super().set_study_system_attr(study_id, key, value)
        for trial in self._backend.get_all_trials(backend_id):
            trial_id = super().create_new_trial(study_id, trial)
            if not trial.state.is_finished():
                self._open[trial_id] = _Open(study_id, time.monotonic(), trial._trial_id, trial)

    def _write_trial(self, trial_id: int, known: _Open, now: float) -> None:
        trial = self.get_trial(trial_id)
        if known.trial is None:
            backend_id = self._backend.create_new_trial(self._backend_studies[known.study_id], trial)
        else:
            backend_id = known.backend_id
            self._write_news(backend_id, known.trial, trial)
        if trial.state.is_finished():
            del self._open[trial_id]
        else:  # a copy, for `optuna.Trial` writes into the one that it was given first
            self._open[trial_id] = _Open(known.study_id, now, backend_id, copy.deepcopy(trial))

    def _write_news(self, backend_id: int, before: FrozenTrial, trial: FrozenTrial) -> None:
        backend = self._backend
        for name, value in _news(before.params, trial.params):
            distribution = trial.distributions[name]
            backend.set_trial_param(backend_id, name, distribution.to_internal_repr(value), distribution)
        for step, value in _news(before.intermediate_values, trial.intermediate_values):
            backend.set_trial_intermediate_value(backend_id, step, value)
        for key, value in _news(before.user_attrs, trial.user_attrs):
            backend.set_trial_user_attr(backend_id, key, value)
        for key, value in _news(before.system_attrs, trial.system_attrs):
            backend.set_trial_system_attr(backend_id, key, value)
        if trial.state != before.state:
            backend.set_trial_state_values(backend_id, trial.state, trial.values)


def _news(before: dict[Any, Any], now: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return [(key, value) for key, value in now.items() if key not in before or before[key] != value]
