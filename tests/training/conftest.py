"""Jobs run in the test's own process, with a channel that keeps what it is sent."""

from __future__ import annotations

import pytest

from bench.config import RunConfig
from bench.data import open as open_data
from bench.hyperparameters import fixed

NEED_TENSORFLOW = {"test_families.py", "test_folds.py", "test_jobs.py"}
"""All slow; not even imported where slow tests are left out, since TensorFlow takes seconds to import."""


def pytest_ignore_collect(collection_path, config):
    return True if collection_path.name in NEED_TENSORFLOW and config.option.markexpr == "not slow" else None


class Kept:
    """A channel that answers with given values and keeps reports and the result."""

    def __init__(self, values=None, stop_at=None):
        self.suggest = fixed(values or {})
        self.reports, self.sent, self._stop_at = [], None, stop_at

    def report(self, epoch, figures):
        self.reports.append((epoch, dict(figures)))
        return epoch == self._stop_at

    def result(self, result):
        self.sent = dict(result)
        return {"keep": self.keep} if getattr(self, "keep", None) else {}


@pytest.fixture
def channel():
    return Kept


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with the manifest of 60 drawn pictures."""
    folder = tmp_path_factory.mktemp("drawn")
    dataset = open_data(RunConfig(images=60))
    dataset.write(folder / "split.json")
    return folder


@pytest.fixture
def payload(drawn):
    """What a trial on the drawn pictures is told."""

    def make(path, **changes):
        return {
            "path": str(path),
            "class_names": ["cats", "dogs"],
            "input_sizes": [32],
            "weights": "random",
            "files": {},
            "manifest": str(drawn / "split.json"),
            "cache": str(drawn / "cache"),
            "epochs": 2,
            "patience": 2,
            "seed": 0,
            "deterministic": False,
            "cores": 2,
            **changes,
        }

    return make
