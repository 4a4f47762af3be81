"""Backbones that are not built: the same training without them, and the real one wherever more is asked."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from bench import data
from bench.cache import directory
from bench.records import Limit
from bench.training import estimators, jobs, trainer
from bench.training.frozen import sketch
from bench.training.task import Task

pytestmark = pytest.mark.slow

FREEZING = "    for layer in backbone.layers["
"""Where a family begins to work on its backbone."""


@pytest.fixture
def built(monkeypatch):
    """The backbones that were built, one entry each."""
    found, build = [], Task._build
    monkeypatch.setattr(Task, "_build", lambda self, *given: found.append(given[0].__name__) or build(self, *given))
    return found


@pytest.fixture
def run(transfer, channel, job):
    """A trial of a family, its lines changed, with a cache of this test's own; gives its result."""

    def trial(family="transfer", before_freezing="", keep=None, asked=None, job_changes=None, **values):
        text = {"more": (FREEZING, before_freezing + FREEZING)} if before_freezing else {}
        recorder = channel(values, keep=keep)
        if asked is not None:
            suggest = recorder.suggest
            recorder.suggest = lambda each: asked.append(each.name) or suggest(each)
        path = transfer(family, **text)
        return jobs.trial(job(path, **(job_changes or {})), recorder)

    return trial


def losses(result):
    return [(epoch.loss, epoch.val_loss) for epoch in result.history]


def test_a_backbone_whose_features_are_there_is_not_built(run, built):
    first, second = run(dropout=0.2), run(dropout=0.2)
    assert built == ["tiny"]
    np.testing.assert_allclose(losses(second), losses(first), atol=1e-6)
    for name in ("parameters", "trainable_parameters", "macs", "model_size_mb"):
        assert getattr(first.cost, name) == getattr(second.cost, name)
    assert first.validation.n == second.validation.n == 12
    run(frozen_layers=10)  # other features, which are not there
    run(job_changes={"seed": 1})  # other random weights
    assert built == ["tiny"] * 3


def test_a_limited_latency_is_measured_at_the_build_and_changes_no_training(run, built, tmp_path):
    free = run(dropout=0.2, job_changes={"cache": str(tmp_path / "another")})
    first, second = (run(dropout=0.2, job_changes={"limits": {Limit.LATENCY: 1e3}}) for _ in range(2))
    assert built == ["tiny"] * 2  # the second has a sketch, and reads the recorded latency of its backbone
    for result in (first, second):
        np.testing.assert_allclose(losses(result), losses(free), atol=1e-6)
        assert 0 < result.cost.latency_ms < 1e3


@pytest.mark.parametrize(
    ("values", "times"),
    [({}, 1), ({}, 2), ({"frozen_layers": 6, "head_epochs": 1}, 1)],
    ids=["with the backbone", "with its sketch", "fine-tuned"],
)
def test_the_kept_model_is_the_trained_one(run, built, channel, job, score_job, tmp_path, values, times):
    for number in range(times):
        path = tmp_path / f"{number}.keras"
        result = run(keep=path, dropout=0.3, **values)
    family, only_trained = tmp_path / "spaces" / "transfer.py", path.with_suffix(".npz")
    config = job(family, values=result.params)
    assert only_trained.exists() == (times == 2)
    if only_trained.exists():
        assert built == ["tiny"]
        jobs.score(score_job(config, trained=str(only_trained), model=str(path)), channel())
        assert not only_trained.exists()
    dataset = data.load(Path(config.manifest))
    pictures = jobs._part(dataset, dataset.part("validation"), 16, "squash", config, channel())
    predicted = keras.saving.load_model(path, safe_mode=True).predict(np.asarray(pictures.pixels, "f"), verbose=0)
    right = np.where(pictures.labels == 1, predicted[:, 0], 1 - predicted[:, 0])
    assert -np.log(right).mean() == pytest.approx(result.validation.log_loss, abs=1e-6)
    assert np.mean(right > 0.5) == result.validation.accuracy


@pytest.mark.parametrize(
    "wanted",
    [
        'assert backbone.get_layer("stem").output.shape == (None, 8, 8, 8)',
        'assert backbone.get_layer("stem").kernel_size == (3, 3)',
    ],
)
def test_who_asks_for_more_gets_the_real_one_and_the_engine_is_asked_once(run, built, wanted):
    asked = []
    curves = [losses(run(before_freezing=f"    {wanted}\n", asked=asked, dropout=0.2)) for _ in range(2)]
    assert built == ["tiny"] * 2
    assert len(asked) == 2 * len(set(asked)) == 2 * 7
    np.testing.assert_allclose(curves[1], curves[0], atol=1e-6)


def test_hyperparameters_that_are_asked_after_the_backbone_are_asked_once(run, built):
    asked = []
    more = '    hp.Choice("early", [1, 2])\n    backbone.get_layer("stem").kernel\n'
    for _ in range(2):
        run(before_freezing=more, asked=asked)
    assert asked.count("early") == 2


LOOKING = """\
    from pathlib import Path
    kinds = (keras.Model, layers.Layer, layers.Conv2D, layers.DepthwiseConv2D, layers.BatchNormalization, layers.ReLU)
    looks = [(each.name, each.trainable, [isinstance(each, kind) for kind in kinds]) for each in
             (backbone, *backbone.layers, backbone.get_layer("add"), backbone.get_layer(index=4))]
    with Path({path!r}).open("a") as file:
        print(looks, [each.__class__.__name__ for each in backbone.layers], len(backbone.layers), file=file)
"""


def test_a_sketch_looks_like_the_backbone(run, built, tmp_path):
    for _ in range(2):
        run(before_freezing=LOOKING.format(path=str(tmp_path / "looks.txt")))
    assert built == ["tiny"]
    real, sketched = (tmp_path / "looks.txt").read_text().splitlines()
    assert real == sketched


def test_a_damaged_outline_is_no_outline_and_is_written_anew(run, built, tmp_path):
    run()
    (path,) = (tmp_path / "cache" / "features" / "outlines").iterdir()
    path.write_text(path.read_text()[:-9])
    run()
    assert built == ["tiny"] * 2
    run()
    assert built == ["tiny"] * 2


@pytest.mark.parametrize("damaged", ["", "{", "[]", "3", '{"name": "tiny"}', '"\ud800'])
def test_what_is_no_outline_is_not_read_as_one(tmp_path, damaged):
    outlines = sketch.Outlines(tmp_path)
    outlines.save(["tiny"], sketch.Outline("tiny", (4,), [("a", "keras.layers", "ReLU")], [False], 3, 5, {"in": "out"}))
    assert outlines.find(["tiny"]).keys == {"in": "out"}
    (path,) = (tmp_path / "features" / "outlines").iterdir()
    path.write_bytes(damaged.encode("utf-8", "surrogatepass"))
    assert outlines.find(["tiny"]) is None


def test_weights_from_another_file_are_another_backbone(tmp_path):
    files = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path in files:
        path.write_bytes(b"weights")
    same = [sketch.identity("tiny {}", str(files[0]), (16, 16, 3), seed) for seed in (0, 1)]
    assert same[0] == same[1]  # nothing is drawn
    others = [
        sketch.identity("tiny {}", str(files[1]), (16, 16, 3), 0),
        sketch.identity("other {}", str(files[0]), (16, 16, 3), 0),
        sketch.identity("tiny {}", str(files[0]), (32, 32, 3), 0),
        sketch.identity("tiny {}", None, (16, 16, 3), 0),
        sketch.identity("tiny {}", None, (16, 16, 3), 1),
    ]
    files[0].write_bytes(b"other weights")
    others.append(sketch.identity("tiny {}", str(files[0]), (16, 16, 3), 0))
    assert len({str(each) for each in (same[0], *others)}) == 7


@pytest.mark.parametrize(
    "altered",
    [
        "backbone.layers[1].set_weights([2 * each for each in backbone.layers[1].get_weights()])",
        "backbone.get_layer('out').threshold = 5.0",
    ],
)
def test_a_family_that_alters_its_backbone_does_not_alter_that_of_others(transfer, channel, job, tmp_path, altered):
    plain = transfer("plain")
    other = transfer("other", alters=(FREEZING, f"    {altered}\n{FREEZING}"))

    def run(path, cache):
        result = jobs.trial(job(path, cache=str(tmp_path / cache)), channel({"dropout": 0.0}))
        return losses(result)

    apart = run(plain, "a"), run(other, "b")
    assert apart[0] != apart[1]
    np.testing.assert_allclose((run(plain, "c"), run(other, "c")), apart, atol=1e-5)
    np.testing.assert_allclose((run(other, "d"), run(plain, "d")), apart[::-1], atol=1e-5)


def test_a_family_that_asks_for_the_type_of_a_layer_freezes_the_same(transfer, channel, job, tmp_path):
    old = """    for layer in backbone.layers[: hp.Int("frozen_layers", 0, 13, default=13)]:
        layer.trainable = False
"""
    new = """    hp.Int("frozen_layers", 0, 13, default=13)
    for layer in backbone.layers:
        layer.trainable = type(layer).__name__ == "Conv2D"
"""
    jobs.trial(job(transfer("before")), channel())
    path = transfer("types", frozen=(old, new))
    found = []
    for cache in ("cache", "other"):
        result = jobs.trial(job(path, cache=str(tmp_path / cache)), channel())
        found.append(result.cost.trainable_parameters)
    assert found[0] == found[1]


def test_an_application_of_a_familys_own_that_changes_is_another(transfer, channel, job, tmp_path):
    own = ('tiny.__module__ = "keras.applications.tiny"', "")
    deeper = ('layers.ReLU(name="out")', 'layers.Activation("tanh", name="out")')

    def run(path, cache):
        result = jobs.trial(job(path, cache=str(tmp_path / cache)), channel({"dropout": 0.0}))
        return losses(result)

    before = run(transfer("mine", own=own), "cache")
    path = transfer("mine", own=own, deeper=deeper)
    assert run(path, "cache") == run(path, "new") != before


def test_features_that_go_while_a_sketch_is_trained_are_no_failure(transfer, channel, job, tmp_path, monkeypatch):
    path, cache = transfer(), tmp_path / "cache"
    jobs.trial(job(path, cache=str(cache)), channel())
    fit = trainer.fit

    def cleared(*given, **named):
        directory.clear(cache, ("features",))
        return fit(*given, **named)

    monkeypatch.setattr(trainer, "fit", cleared)
    result = jobs.trial(job(path, cache=str(cache)), channel())
    assert result.validation


def test_features_that_go_before_a_sketch_is_trained_are_computed_again(
    transfer, channel, job, built, tmp_path, monkeypatch
):
    path, cache = transfer(), tmp_path / "cache"
    first = jobs.trial(job(path, cache=str(cache)), channel())
    count_work = estimators.Network.work

    def cleared(*arguments):
        work = count_work(*arguments)
        directory.clear(cache, ("features",))
        return work

    monkeypatch.setattr(estimators.Network, "work", cleared)
    second = jobs.trial(job(path, cache=str(cache)), channel())
    assert built == ["tiny"] * 2
    assert losses(second) == losses(first)
