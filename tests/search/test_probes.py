"""Results of probes that later runs use again: when, and when not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench import RunConfig, cache
from bench import data as pictures
from bench.records import PhaseWork, Speed, Work
from bench.search import families, spaces
from bench.search.probes import ProbeCache, is_pure
from bench.search.progress import Progress
from bench.testing import FakePool
from bench.training.messages import ProbeJob, ProbeResult, WeightsFile

from ..conftest import TINY


class Building(FakePool):
    """Counts its probes, whose results are kept as if they were real; needs a weights file."""

    @property
    def cache(self):
        return cache.folder()

    def __init__(self, weights: Path, **more: object) -> None:
        super().__init__(lambda hp, family: hp.Boolean("flag"), lambda family, params: 0.5)
        self.weights, self.more, self.probed = weights, more, 0

    def _run(self, job, listener):
        result = super()._run(job, listener)
        if isinstance(job, ProbeJob):
            self.probed += 1
            file = WeightsFile("Net", path=str(self.weights))
            result = replace(result, weights_files=(file,), backbones=1, **self.more)
        return result


@pytest.fixture
def probed(space, tmp_path, monkeypatch):
    """Prepares the family `net` twice; gives the number of probes of the second time."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "net.h5"
    weights.write_bytes(b"weights")

    def run(change=lambda: None, text=TINY, before=None, after=None, more=None, proposals=(0, 0)):
        path = space("net", text)
        for number, (settings, count) in enumerate(zip((before, after), proposals, strict=True)):
            if number:
                change()
            pool = Building(weights, **(more or {}))
            config = RunConfig(**{"images": 24, **(settings or {})})
            families.prepare(config, spaces.select([path]), pictures.open(config), pool, Progress(), proposals=count)
        return pool.probed

    run.weights, run.family, run.cache = weights, tmp_path / "spaces" / "net.py", tmp_path / "cache"
    return run


def test_a_family_is_probed_once(probed):
    assert probed() == 0


def test_what_is_kept_is_what_was_learned(probed, space, tmp_path):
    probed()
    (file,) = (probed.cache / "probed" / "net").glob("*.json")
    assert '"flag"' in file.read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"images": 25},  # only the classes and the input sizes matter
        {"budget": None},
        {"workers": 2},
        {"out": "elsewhere"},
    ],
)
def test_settings_that_no_build_sees_change_nothing(probed, change):
    assert probed(after=change) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"weights": "random"},
        {"features": "float16"},
        {"epochs": 3},
        {"input_sizes": (16, 24)},
        {"max_parameters": 1_000_000},
    ],
)
def test_a_job_with_other_settings_is_another_one(probed, change):
    assert probed(after=change) == 1


def test_a_changed_file_is_probed_again(probed):
    assert probed(lambda: probed.family.write_text(TINY + "# another\n")) == 1


def test_a_changed_shared_part_is_a_changed_family(probed):
    part = probed.family.with_name("_part.py")
    assert probed(lambda: part.write_text("SIZE = 3\n")) == 1


@pytest.mark.parametrize("change", ["content", "time", "removed"])
def test_a_changed_weights_file_is_checked_again(probed, change):
    def write():
        if change == "content":
            probed.weights.write_bytes(b"other weights")
        elif change == "time":
            os.utime(probed.weights, ns=(1, 1))
        else:
            probed.weights.unlink()

    assert probed(write) == 1


def test_weights_that_were_missing_and_have_come_are_checked(probed):
    probed.weights.unlink()
    assert probed(lambda: probed.weights.write_bytes(b"weights")) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("_suite_sha256", lambda: "another suite"), ("platform.node", lambda: "another machine")],
)
def test_another_suite_or_machine_is_another_probe(probed, monkeypatch, name, value):
    assert probed(lambda: monkeypatch.setattr(f"bench.search.probes.{name}", value)) == 1


def test_an_installed_package_makes_another_environment(probed, monkeypatch, tmp_path):
    def install():
        (tmp_path / "site" / "keras-99.0.dist-info").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / "site")

    assert probed(install) == 1


def test_keras_settings_are_part_of_the_environment(probed, monkeypatch, tmp_path):
    assert probed(lambda: monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))) == 1
    (tmp_path / "keras").mkdir()
    settings = tmp_path / "keras" / "keras.json"
    assert probed(lambda: settings.write_text('{"floatx": "float16"}')) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"result": 1}'])
def test_a_damaged_result_is_not_used(probed, text):
    def damage():
        for file in (probed.cache / "probed" / "net").glob("*.json"):
            file.write_text(text)

    assert probed(damage) == 1


def test_more_proposals_need_another_probe_and_fewer_do_not(probed):
    assert probed(proposals=(3, 5)) == 1
    assert probed(proposals=(5, 3)) == 0
    assert probed(proposals=(5, 0)) == 0
    assert probed(proposals=(5, 5), after={"engines": ("optuna:random",)}) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"warnings": ("odd",)},
        {"works": (None,)},
    ],
)
def test_a_result_that_is_not_flawless_is_not_kept(probed, more):
    assert probed(more=more) == 1


def test_a_fake_pool_neither_keeps_nor_uses_results(probed, monkeypatch):
    assert probed(lambda: monkeypatch.setattr(Building, "cache", None)) == 1
    assert not list((probed.cache / "probed").glob("other/*"))


def test_a_cache_that_cannot_be_written_is_no_error(probed):
    probed.cache.mkdir(exist_ok=True)
    (probed.cache / "probed").write_text("a file in its place")
    assert probed() == 1


IMPURE = [
    "import os",
    "import other",
    "from pathlib import Path",
    "from . import other",
    "import numpy as np\nTABLE = np.load('table.npy')",
    "import keras\nMODEL = keras.saving.load_model",
    "import keras\nMODEL = getattr(keras.saving, 'load_model')",
    "from keras.utils import image_dataset_from_directory",
    "from keras.utils import get_file as get",
    "from sklearn.datasets import fetch_openml",
    "TEXT = open('table.csv')",
    "import importlib",
    "MODULE = __import__('other')",
    "exec('1')",
    "import keras\nNET = keras.applications.MobileNet(weights='imagenet')",
    "NET = 'hub:resnet_18_imagenet'",
]


@pytest.mark.parametrize("line", IMPURE)
@pytest.mark.parametrize("file", ["net", "_part"])
def test_code_that_may_depend_on_more_is_always_probed(space, line, file):
    path = Path(space("net"))
    assert is_pure(path)
    space(file, f"{TINY}\n{line}\n")
    assert not is_pure(path)


def test_a_package_beside_the_family_is_no_known_one(space):
    path = Path(space("net"))
    space("keras", "")
    assert not is_pure(path)


def test_the_built_in_families_can_be_kept():
    assert [path.stem for path in spaces.known() if not is_pure(path)] == []


def test_a_network_without_a_measured_speed_is_probed_again(tmp_path, space):
    network = Work(phases=(PhaseWork(1, 1),))
    job = ProbeJob(
        id="p", timeout_s=1, path=space("net"), class_names=("a", "b"), input_sizes=(16,), weights="random", seed=0
    )
    kept = ProbeCache(tmp_path / "kept", "optuna:tpe")
    result = ProbeResult(space=(), other_works=(network,))
    kept.keep(job, result)
    assert kept.find(job) is None
    measured = replace(result, speed=Speed(1.0, 0.1, network))
    kept.keep(job, measured)
    assert kept.find(job) == measured
