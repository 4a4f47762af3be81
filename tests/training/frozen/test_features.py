"""The feature cache: computed once, found again, never believed when damaged, and no more of it than there is room."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from bench.cache import directory, rows
from bench.training import batches, estimators, jobs
from bench.training.batches import Part
from bench.training.frozen import features
from bench.training.frozen.features import FeatureCache, PictureView, views
from bench.training.frozen.graph import Graph
from bench.training.frozen.identity import NoPrefix

pytestmark = pytest.mark.slow


def part(*numbers, size=16):
    pictures = [np.random.default_rng(each).integers(0, 256, (size, size, 3), dtype=np.uint8) for each in numbers]
    names = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures]
    return Part(np.stack(pictures), np.array(numbers) % 2, names)


def cut(frozen=2, seed=0):
    """Of a model of three convolutions, the first of which are frozen."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((16, 16, 3))
    for number in range(3):
        x = layers.Conv2D(4, 3, strides=2, padding="same", name=f"conv_{number}", trainable=number >= frozen)(x)
    return Graph(keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))).cut()


def expected(of, pictures):
    """The features, computed without a cache."""
    return np.asarray(of.prefix([of.graph.input])([pictures.astype(np.float32)]))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "MIN_MACS_PER_BYTE", 0)
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def read(monkeypatch):
    """The views whose pictures went through a prefix, one entry a picture."""
    found, pictures = [], PictureView.pictures

    def watched(self, indices):
        found.extend((self.augmentation, self.number) for _ in indices)
        return pictures(self, indices)

    monkeypatch.setattr(PictureView, "pictures", watched)
    return found


def cached_bytes(root):
    return sum(entry.size_bytes for entry in directory.entries(root, ("features",)))


def segments(store):
    return sorted(entry.path for entry in directory.entries(store.root, ("features",)))


# -- computed once


def test_features_are_computed_once_in_whatever_split_order_or_model_they_are_asked_for(store, read):
    first, of = store.fetch(cut(), [PictureView(part(*range(70)))]), cut()
    assert (len(read), first.cached, first.spent_s > 0) == (70, 0, True)
    np.testing.assert_allclose(np.asarray(first.rows[0]), expected(of, part(*range(70)).pixels), atol=1e-4)
    again = store.fetch(of, [PictureView(part(5, 69, 0)), PictureView(part(33))])
    assert (len(read), again.cached, again.spent_s) == (70, 1, 0)
    np.testing.assert_array_equal(np.asarray(again.rows[0]), np.asarray(first.rows[0])[[5, 69, 0, 33]])
    some = store.fetch(of, [PictureView(part(100, 3, 101, 4))])
    assert (len(read), some.cached) == (72, 0.5)
    np.testing.assert_allclose(np.asarray(some.rows[0]), expected(of, part(100, 3, 101, 4).pixels), atol=1e-4)
    store.fetch(cut(seed=1), [PictureView(part(5))])
    assert len(read) == 73  # other weights, other features


def test_a_deeper_cut_starts_from_a_shallower_one(store, read, monkeypatch):
    computed, traced = [], features.traced

    def watched(prefix):
        computed.append([layer.name for layer in prefix.layers if isinstance(layer, layers.Conv2D)])
        return traced(prefix)

    monkeypatch.setattr(features, "traced", watched)
    pictures = part(*range(40))
    shallow, deep = (store.fetch(cut(frozen), [PictureView(pictures)]) for frozen in (1, 2))
    assert computed == [["conv_0"], ["conv_1"]]
    assert len(read) == 40
    np.testing.assert_allclose(np.asarray(deep.rows[0]), expected(cut(2), pictures.pixels), atol=1e-4)
    assert deep.cold_s > shallow.cold_s  # it is charged for both
    store.fetch(cut(2), [PictureView(part(*range(30, 50)))])
    assert computed[2:] == [["conv_0", "conv_1"]]  # of the new pictures the shallow features are not there
    assert len(read) == 50


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: b"",
    ],
    ids=["truncated", "a bit", "empty"],
)
def test_a_damaged_file_is_not_used_but_computed_again(store, read, damage, monkeypatch):
    monkeypatch.setattr(rows, "_verified", set())  # as in a process that opens it for the first time
    pictures = part(*range(20))
    store.fetch(cut(), [PictureView(pictures)])
    (path,) = segments(store)
    path.write_bytes(damage(path.read_bytes()))
    rows._verified.clear()
    found = store.fetch(cut(), [PictureView(pictures)])
    assert (len(read), found.cached) == (40, 0)
    np.testing.assert_allclose(np.asarray(found.rows[0]), expected(cut(), pictures.pixels), atol=1e-4)


def asked_at_once(store, pictures):
    """What two threads get that ask for the same features."""
    cuts, found = [cut(), cut()], {}

    def fetch(number):
        found[number] = store.fetch(cuts[number], [PictureView(pictures)])

    threads = [threading.Thread(target=fetch, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[0], found[1]]


def test_two_that_ask_for_many_at_once_share_the_work(store, read, monkeypatch):
    monkeypatch.setattr(features, "MIN_SHARED", 100)
    pictures = part(*range(150))
    found = asked_at_once(store, pictures)
    assert len(read) == 150
    for each in found:
        np.testing.assert_allclose(np.asarray(each.rows[0]), expected(cut(), pictures.pixels), atol=1e-4)
    assert len(segments(store)) == features.SHARES


def test_of_two_that_ask_at_once_one_computes(store, read):
    found = asked_at_once(store, part(*range(150)))
    assert len(read) == 150
    assert sorted(each.spent_s > 0 for each in found) == [False, True]
    np.testing.assert_array_equal(*(np.asarray(each.rows[0]) for each in found))
    assert found[0].cold_s == found[1].cold_s


def test_half_precision_takes_half_the_room_and_is_kept_apart(store, read):
    pictures = part(*range(20))
    whole = store.fetch(cut(), [PictureView(pictures)])
    half = replace(store, dtype="float16").fetch(cut(), [PictureView(pictures)])
    assert (half.rows[0].dtype, half.bytes) == (np.float16, whole.bytes / 2)
    np.testing.assert_allclose(np.asarray(half.rows[0]), np.asarray(whole.rows[0]), rtol=1e-3, atol=1e-2)


def test_seconds_are_those_of_as_many_cores_as_there_are(store):
    pictures = part(*range(20))
    measured = store.fetch(cut(), [PictureView(pictures)]).cold_s
    assert replace(store, cores=2).fetch(cut(), [PictureView(pictures)]).cold_s == pytest.approx(measured / 2)


# -- views


def test_a_flip_is_a_second_view_and_light_is_four_that_differ():
    pictures = part(1, 2)
    assert [len(views(pictures, name, seed=0)) for name in ("none", "flip", "light")] == [1, 2, 4]
    plain, mirrored = views(pictures, "flip", seed=0)
    assert plain.sha256 == pictures.sha256
    np.testing.assert_array_equal(mirrored.pictures([1]), pictures.pixels[[1], :, ::-1])
    light = views(pictures, "light", seed=0)
    looks = {view.pictures([index])[0].tobytes() for view in light for index in (0, 1)}
    assert len(looks) == 8
    names = {name for view in (plain, mirrored, *light, *views(pictures, "light", seed=1)) for name in view.sha256}
    assert len(names) == 2 * (2 + 4 + 4)
    backwards = replace(light[3], part=part(2, 1))  # a picture is altered alike, wherever it stands
    np.testing.assert_array_equal(backwards.pictures([0, 1]), light[3].pictures([1, 0]))


@pytest.mark.parametrize(("augmentation", "count"), [("none", 1), ("flip", 2), ("light", 4)])
def test_training_pictures_have_views_and_validation_pictures_are_plain(
    transfer, channel, job, read, augmentation, count
):
    result = jobs.trial(job(transfer(), epochs=4), channel({"augmentation": augmentation}))
    (prefix,) = result.prefixes
    assert (prefix.used, prefix.views) == (True, count)
    seen = {view: read.count(view) for view in read}
    if augmentation == "none":
        assert seen == {("none", 0): 36 + 12}
    else:
        assert seen == {**{(augmentation, number): 36 for number in range(count)}, ("none", 0): 12}


def test_more_views_than_epochs_are_not_worth_computing(transfer, channel, job):
    result = jobs.trial(job(transfer(), epochs=3), channel({"augmentation": "light"}))
    assert result.prefixes[0].reason == "4 views of every picture take more than 3 epochs"


# -- room


def test_features_without_room_in_the_cache_are_not_kept(transfer, channel, job, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_GB", "0.0001")
    recorder = channel({"frozen_layers": 10})  # 48 pictures of 8 x 8 x 8 numbers
    result = jobs.trial(job(transfer()), recorder)
    (prefix,) = result.prefixes
    assert not prefix.used
    assert prefix.reason == "its features take 98.3 kB, above 50% of the cache's 100.0 kB, which BENCH_CACHE_GB sets"
    assert prefix.disk_mb == 0
    assert cached_bytes(tmp_path / "cache") == 0
    assert len(result.history) == 2
    assert result.cost.features_time_s == 0


def test_what_was_used_longest_ago_goes_and_the_cache_stays_under_its_cap(store, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_GB", "0.00003")  # 30 kB; each of these takes 10 kB and what is written with it
    for seed in range(5):
        of = cut(seed=seed)
        store.check(of, 40)
        found = store.fetch(of, [PictureView(part(*range(40)))])
        assert found.bytes == 40 * 4 * 4 * 4 * 4
        np.testing.assert_allclose(np.asarray(found.rows[0]), expected(of, part(*range(40)).pixels), atol=1e-4)
        assert 10_000 < cached_bytes(store.root) < 30_000 + 5_000
    assert len(segments(store)) == 2


def test_a_disk_without_room_is_no_failure(transfer, channel, job, tmp_path, monkeypatch):
    cache = str(tmp_path / "cache")
    jobs.trial(job(transfer(), cache=cache, features="off"), channel())  # decodes the pictures
    monkeypatch.setattr(directory, "free_bytes", lambda root: 5_000)
    monkeypatch.setenv("BENCH_CACHE_GB", "1")
    result = jobs.trial(job(transfer(), cache=cache), channel({"frozen_layers": 10}))
    (prefix,) = result.prefixes
    assert not prefix.used
    assert "its disk has only 5.0 kB left" in prefix.reason
    assert len(result.history) == 2


def test_features_that_memory_has_no_room_for_are_read_batch_by_batch(transfer, channel, job, monkeypatch):
    def trained():
        result = jobs.trial(
            job(transfer(), epochs=4),
            channel({"augmentation": "light", "dropout": 0.3, "frozen_layers": 6}),
        )
        return result.prefixes[0], losses(result), held.pop()

    held, create = [], batches.Examples.__init__

    def created(self, *arguments, **named):
        create(self, *arguments, **named)
        held.append(self.arrays is not None)

    monkeypatch.setattr(batches.Examples, "__init__", created)
    in_memory, curve, is_held = trained()
    assert is_held
    monkeypatch.setattr(estimators, "MAX_MEMORY_MB", 0.001)
    streamed, same, is_held = trained()
    assert not is_held
    assert in_memory.disk_mb == streamed.disk_mb > 0
    assert streamed.used
    np.testing.assert_allclose(same, curve, atol=1e-6)


def test_a_cheap_prefix_is_computed_again_and_again(store, monkeypatch):
    monkeypatch.setattr(features, "MIN_MACS_PER_BYTE", 10_000)
    with pytest.raises(NoPrefix, match="costs no more than reading them"):
        store.check(cut(), 1)


# -- training on them


def losses(result):
    return [(epoch.loss, epoch.val_loss, epoch.val_accuracy) for epoch in result.history]


def trained(channel, config, features, **values):
    result = jobs.trial(replace(config, features=features), channel({"dropout": 0.3, **values}))
    assert all(prefix.used == (features != "off") for prefix in result.prefixes)
    return result


@pytest.mark.parametrize(
    ("augmentation", "frozen", "head_epochs", "cuts"),
    [("none", 13, 0, [1]), ("flip", 6, 0, [2]), ("flip", 10, 2, [1, 1])],
    ids=["all", "inside a residual block", "two phases"],
)
def test_training_on_features_is_training_end_to_end(transfer, channel, job, augmentation, frozen, head_epochs, cuts):
    config = job(transfer(), epochs=3)
    values = {"augmentation": augmentation, "frozen_layers": frozen, "head_epochs": head_epochs}
    on_features, end_to_end = (trained(channel, config, dtype, **values) for dtype in ("float32", "off"))
    assert [len(prefix.cut) for prefix in on_features.prefixes] == cuts
    np.testing.assert_allclose(losses(on_features), losses(end_to_end), atol=1e-3)
    if augmentation == "none":
        half = trained(channel, config, "float16", **values)
        np.testing.assert_allclose(losses(half), losses(end_to_end), rtol=0.05)
    assert on_features.cost.macs == end_to_end.cost.macs
    assert on_features.cost.trainable_parameters == end_to_end.cost.trainable_parameters
    assert end_to_end.prefixes[0].reason == "the feature cache is off"


@pytest.mark.parametrize("order", [(0.1, 0.4), (0.4, 0.1)])
def test_who_finds_features_is_charged_for_them_as_who_computed_them(transfer, channel, job, order):
    config = job(transfer(), epochs=1)
    first, second = (trained(channel, config, "float32", dropout=dropout) for dropout in order)
    assert [each.prefixes[0].cached for each in (first, second)] == [0, 1]
    assert first.cost.features_time_s == second.cost.features_time_s > 0
    assert (first.cost.saved_time_s, second.cost.saved_time_s) == (0, first.cost.features_time_s)
    for cost in (first.cost, second.cost):
        assert cost.train_time_s == pytest.approx(cost.fit_time_s + cost.features_time_s)


def test_the_work_of_a_trial_is_divided_at_the_cut_and_knows_the_cache(transfer, channel, job):
    works, config = [], job(transfer(), epochs=3)
    for dtype, augmentation in [("off", "none"), ("float32", "none"), ("float32", "none"), ("float32", "flip")]:
        recorder = channel({"dropout": len(works) / 10, "augmentation": augmentation})
        jobs.trial(replace(config, features=dtype), recorder)
        works.append(recorder.work)
    (whole,), (cold,), (cached,), (flipped,) = (work.phases for work in works)
    assert (whole.prefix_macs, whole.cached) == (0, 0)
    assert cold.macs + cold.prefix_macs == whole.macs == works[0].macs
    assert cold.prefix_macs > cold.macs > 0
    assert whole.memory_mb > cold.memory_mb > 0
    assert (cold.cached, cached) == (0, replace(cold, cached=1.0))
    assert flipped.views == 2
    assert 0.5 < flipped.cached < 1  # one of two views of the training pictures, and the validation pictures


def test_two_phases_are_charged_once_for_what_both_need(transfer, channel, job):
    config = job(transfer(), epochs=1)
    first, second = (
        trained(channel, config, "float32", head_epochs=1, frozen_layers=10, dropout=each).cost for each in (0.1, 0.2)
    )
    assert first.features_time_s == second.features_time_s == second.saved_time_s > 0
    assert first.saved_time_s == 0


def test_a_frozen_layer_of_a_familys_own_class_is_in_the_prefix(transfer, channel, job):
    own = """

class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


def build("""
    scaling = "layers.Rescaling(1 / 127.5, offset=-1)(inputs)"
    path = transfer(own=("\ndef build(", own), used=(scaling, f"Doubled()({scaling})"))
    result = jobs.trial(job(path), channel())
    assert result.prefixes[0].used, result.prefixes[0].reason


def test_features_that_half_precision_cannot_hold_train_end_to_end(transfer, channel, job):
    path = transfer(large=("layers.Rescaling(1 / 127.5, offset=-1)", "layers.Rescaling(1e7)"))
    result = jobs.trial(job(path, features="float16"), channel())
    assert len(result.history) == 2


def test_nothing_trained_at_all(transfer, channel, job):
    path = transfer(
        frozen=(
            "    return keras.Model(inputs, task.classify(x))",
            "    model = keras.Model(inputs, task.classify(x))\n    model.trainable = False\n    return model",
        )
    )
    result = jobs.trial(job(path), channel())
    assert result.cost.trainable_parameters == 0
    assert "none of its layers" in result.prefixes[0].reason
