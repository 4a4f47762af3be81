"""Shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("any machine", deadline=None)  # 200 ms pass where a machine is busy
hypothesis.settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job ignores Ctrl-C, and so do its children
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = """\
import keras
from keras import layers


def build(hp, task):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(hp.Choice("filters", [2, 4, 8]), 3, strides=4)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, task.classify(x))
"""
"""A search-space file of ten lines, tiny enough for a test."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of slow tests alone without importing them: most load TensorFlow, which takes seconds."""
    if config.option.markexpr != "not slow" or not collection_path.name.startswith("test_"):
        return None
    return "\npytestmark = pytest.mark.slow" in collection_path.read_text(encoding="utf-8") or None


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that everything here keeps decoded pictures in, processes that tests start too: never the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder))
        patch.delenv("BENCH_CACHE_GB", raising=False)
        yield folder


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Trials are kept in memory, unless the test is marked `storage`."""
    import optuna

    if not request.node.get_closest_marker("storage"):
        memory = optuna.storages.InMemoryStorage
        monkeypatch.setattr("bench.runs.optuna_storage.open_storage", lambda url, **_: memory())


@pytest.fixture
def space(tmp_path: Path):
    """Writes a search-space file and gives its path as text."""

    def write(name: str, text: str = TINY) -> str:
        path = tmp_path / "spaces" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def assets() -> Path:
    """Real photographs (`photos/`) and ImageNet weights (`keras/`); skips where there are none."""
    folder = os.environ.get("BENCH_ASSETS")
    if not folder:
        pytest.skip("BENCH_ASSETS is not set: it names a folder with photos/ and keras/")
    return Path(folder)
