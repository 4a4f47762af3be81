"""Thumbnails: which pictures get one, how those look, what is read, and that no error stops a run."""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import Budget, RunConfig, data, runner
from bench.config import USUAL_SPLIT
from bench.data import Dataset, Item
from bench.data.sources.drawn import Drawn
from bench.records import Run, RunStatus, SplitInfo
from bench.runs import predictions, thumbnails
from bench.runs.thumbnails import MISTAKES, SHARED_MISTAKES, Thumbnail, ThumbnailWriter, encoded, samples
from bench.search.progress import SILENT, Progress
from bench.testing import FakePool
from bench.training.messages import ScoreJob


def drawn(images: int = 40, **config: Any) -> Dataset:
    return data.open(RunConfig(images=images, **{"split": USUAL_SPLIT, **config}))


def photographs(folder: Path, size: tuple[int, int], suffix: str, **options: Any) -> Dataset:
    """Eight pictures of noise for each of two classes."""
    rng = np.random.default_rng(0)
    for number, label in itertools.product(range(8), ("cat", "dog")):
        (folder / label).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        image.save(folder / label / f"{number}.{suffix}", **options)
    return data.open(RunConfig(data=str(folder)))


def made_up(classes: int, each: int) -> Dataset:
    """A data set of which nobody looks at the pictures."""
    numbers = itertools.count()
    items = [Item(f"{n}.jpg", label, "train", f"{next(numbers):064x}") for label in range(classes) for n in range(each)]
    return Dataset(Drawn(0, 0), tuple(f"class {n:03d}" for n in range(classes)), tuple(items), (32,))


def of(dataset: Dataset, run: Path, seed: int = 0) -> tuple[ThumbnailWriter, list[str]]:
    """A writer and its warnings."""
    warnings: list[str] = []
    return ThumbnailWriter(dataset, run, seed, warnings.append), warnings


def opened(run: Path, sha256: str) -> Image.Image:
    return Image.open(io.BytesIO(thumbnails.jpeg(run, sha256)))


def predict(run: Path, family: str, dataset: Dataset, wrong: Sequence[int]) -> None:
    """Writes predictions on the test part: those numbers are wrong, the first of them the surest."""
    items = dataset.part("test")
    probabilities = np.full((len(items), 2), 0.1, np.float32)
    for place, item in enumerate(items):
        probabilities[place, item.label] = 0.9
    for order, place in enumerate(wrong):
        right = items[place].label
        probabilities[place, [right, 1 - right]] = [0.005 * order, 1 - 0.005 * order]
    data.write_predictions(predictions.path(run, family), items, probabilities)


class TestSamples:
    def test_a_few_training_pictures_of_every_class(self) -> None:
        dataset = drawn()
        chosen = samples(dataset, seed=0)
        assert Counter(item.label for item in chosen) == {0: 6, 1: 6}
        assert {item.part for item in chosen} == {"train"}
        assert samples(dataset, seed=0) == chosen != samples(dataset, seed=1)

    @pytest.mark.parametrize(("classes", "each", "of_each"), [(10, 9, 6), (25, 9, 2), (200, 3, 1), (3, 2, 2)])
    def test_many_classes_share_sixty(self, classes: int, each: int, of_each: int) -> None:
        chosen = samples(made_up(classes, each), seed=0)
        assert set(Counter(item.label for item in chosen).values()) == {of_each}
        assert len(chosen) == min(60 // of_each, classes) * of_each


class TestThumbnail:
    @pytest.mark.parametrize(
        ("width", "height", "size"),
        [(640, 480, (192, 144)), (30, 20, (30, 20)), (5000, 3, (192, 1)), (3, 700, (1, 192))],
    )
    def test_the_whole_picture_and_never_larger_than_it_is(
        self, width: int, height: int, size: tuple[int, int]
    ) -> None:
        small = encoded(np.full((height, width, 3), (200, 30, 30), np.uint8))
        image = Image.open(io.BytesIO(small))
        assert (image.format, image.size) == ("JPEG", size)
        assert np.abs(np.asarray(image).reshape(-1, 3).mean(axis=0) - (200, 30, 30)).max() < 8
        assert len(small) < 3000

    def test_upright_as_it_is_trained_on_and_without_what_the_camera_wrote(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "a camera with a serial number"
        dataset = photographs(tmp_path / "photos", (90, 120), "jpg", exif=exif)
        writer, warnings = of(dataset, tmp_path / "run")
        writer.add_samples()
        found = thumbnails.read(tmp_path / "run")
        assert len(found) == 2 * min(6, dataset.info().counts["train"]["cat"])
        assert {opened(tmp_path / "run", sha256).size for sha256 in found} == {(72, 96)}
        assert not any(b"Exif" in thumbnails.jpeg(tmp_path / "run", sha256) for sha256 in found)
        assert warnings == []


def test_the_list_names_every_picture(tmp_path: Path) -> None:
    dataset = drawn()
    writer, _ = of(dataset, tmp_path)
    writer.add_samples()
    known = {item.sha256: item for item in dataset.items}
    for sha256, each in thumbnails.read(tmp_path).items():
        item = known[sha256]
        assert (each.id, each.label, each.part) == (item.id, item.label, item.part)
        pixels = np.asarray(opened(tmp_path, sha256)).astype(int)
        assert np.abs(pixels - dataset.picture(item).pixels).mean() < 10


def test_of_every_confusion_the_most_confident_mistakes_have_one(tmp_path: Path) -> None:
    dataset = drawn(80, split=(0.1, 0.1, 0.8))
    test = dataset.part("test")
    cats, dogs = ([place for place, item in enumerate(test) if item.label == label] for label in (0, 1))
    wrong = [*cats[:28], *dogs[:3]]
    predict(tmp_path, "cnn", dataset, wrong)
    writer, _ = of(dataset, tmp_path)
    writer.add_mistakes("cnn")
    assert list(thumbnails.read(tmp_path)) == [test[n].sha256 for n in (*cats[:21], *dogs[:3])]
    assert MISTAKES == 24


def test_what_all_get_wrong_is_added_to_what_one_gets_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = drawn(100, split=(0.1, 0.1, 0.8))
    test = [item.sha256 for item in dataset.part("test")]
    predict(tmp_path, "cnn", dataset, list(range(60)))
    predict(tmp_path, "vgg", dataset, list(range(5, 60)))
    every = [predictions.read(predictions.path(tmp_path, family)) for family in ("cnn", "vgg")]
    monkeypatch.setattr(predictions, "of_run", lambda run: dict(enumerate(every)))
    writer, warnings = of(dataset, tmp_path)
    writer.add_mistakes("cnn")
    writer.add_shared_mistakes(SimpleNamespace(baselines=()))  # type: ignore[arg-type]
    assert set(thumbnails.read(tmp_path)) == {*test[:MISTAKES], *test[5 : 5 + SHARED_MISTAKES]}
    assert warnings == []


def test_a_picture_that_is_gone_is_listed_without_a_thumbnail(tmp_path: Path) -> None:
    dataset = photographs(tmp_path / "photos", (40, 40), "png")
    gone, changed, *sound = samples(dataset, 0)
    (tmp_path / "photos" / gone.id).unlink()
    (tmp_path / "photos" / changed.id).write_bytes(b"")
    writer, warnings = of(dataset, tmp_path / "run")
    writer.add_samples()
    assert list(thumbnails.read(tmp_path / "run")) == [item.sha256 for item in (gone, changed, *sound)]
    there = {path.stem for path in (tmp_path / "run" / "thumbnails").iterdir()}
    assert there == {item.sha256 for item in sound}
    assert warnings == []


def test_near_duplicates_have_one_those_with_several_labels_first(tmp_path: Path) -> None:
    dataset = drawn(60, limit=30)
    outside = [Item(f"outside {n}", n % 2, "", f"{n:064x}") for n in range(2)]
    cats, dogs = ([item for item in dataset.items if item.label == label] for label in (0, 1))
    group = tuple(item.id for item in (*cats[:6], dogs[0]))
    pair = (cats[7].id, cats[8].id)
    mixed = (dogs[5].id, outside[0].id)
    dataset = replace(
        dataset, alike=(pair, group, mixed), contradicting=(group, mixed), unused=(*dataset.unused, *outside)
    )
    chosen = [item.id for item in thumbnails.near_duplicates(dataset)]
    assert chosen == [cats[0].id, dogs[0].id, *(item.id for item in cats[1:3]), *mixed, *pair]
    writer, warnings = of(dataset, tmp_path)
    writer.add_samples()
    found = {each.id: each.part for each in thumbnails.read(tmp_path).values()}
    assert found["outside 0"] == ""
    assert set(chosen) <= set(found)
    assert warnings == []


def test_contents_under_several_labels_have_one(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        photographs(tmp_path / "photos", (250, 200), "png")
        (tmp_path / "photos" / label / "same.png").write_bytes((tmp_path / "photos/cat/0.png").read_bytes())
    dataset = data.open(RunConfig(data=str(tmp_path / "photos")))
    writer, _ = of(dataset, tmp_path / "run")
    writer.add_samples()
    ((sha256, found),) = ((key, each) for key, each in thumbnails.read(tmp_path / "run").items() if not each.part)
    assert found.id == "cat/0.png"
    assert opened(tmp_path / "run", sha256).size == (154, 192)
    assert {opened(tmp_path / "run", each).size for each in thumbnails.read(tmp_path / "run")} == {(154, 192), (77, 96)}


def test_a_fault_is_told_once_and_goes_no_further(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").write_text("in the way")
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "cnn.npz").write_text("damaged")
    writer, warnings = of(drawn(), tmp_path)
    writer.add_samples()
    writer.add_mistakes("cnn")
    writer.add_mistakes("without predictions")
    assert len(warnings) == 1
    assert warnings[0].startswith("the page lacks pictures (")
    assert warnings[0].endswith("the results are safe")


# -- in a run


class Scoring(FakePool):
    """Its models get the first ten test pictures wrong."""

    def _run(self, job: Any, listener: Any) -> object:
        result = super()._run(job, listener)
        if isinstance(job, ScoreJob):
            run = Path(job.predictions).parents[1]
            predict(run, Path(job.path).stem, data.load(Path(job.manifest)), range(10))
        return result


def build(hp: Any, family: str) -> None:
    hp.Int("depth", 1, 9)


def start(folder: Path, space: Any, progress: Progress = SILENT) -> Any:
    spaces = tuple(space(name) for name in ("a", "b"))
    config = RunConfig(images=120, split=USUAL_SPLIT, budget=Budget(4), out=str(folder / "run"), spaces=spaces)
    return runner.run(config, progress, pool=Scoring(build, lambda family, params: params["depth"] / 10))


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: None) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_folder")
def test_a_run_leaves_its_samples_and_mistakes_beside_the_page(tmp_path: Path, space: Any) -> None:
    run = start(tmp_path, space)
    found = thumbnails.of_run(run)
    test = [item.sha256 for item in data.load(tmp_path / "run" / "split.json").part("test")]
    assert Counter(each.part for each in found.values()) == {"train": 12, "test": 10}
    assert {sha256 for sha256, each in found.items() if each.part == "test"} == set(test[:10])
    assert all(thumbnails.jpeg(run.path, sha256) for sha256 in found)


@pytest.mark.usefixtures("in_folder")
def test_a_run_without_room_for_thumbnails_is_complete(
    tmp_path: Path, space: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(pixels: object, side: int = 0) -> bytes:
        raise OSError("No space left on device")

    told: list[str] = []

    class Telling(Progress):
        def warning(self, text: str) -> None:
            told.append(text)

    monkeypatch.setattr(thumbnails, "encoded", full)
    run = start(tmp_path, space, Telling())
    assert run.status == "complete"
    assert [text for text in told if "pictures" in text] == [
        "the page lacks pictures (OSError: No space left on device); the results are safe"
    ]


# -- read again

HOSTILE = "<img src=x onerror=alert(1)>\u202e\n\ud800/../cat.jpg"
FIRST, SECOND = "ab" * 32, "0" * 64
JPEG = b"\xff\xd8\xff and so on"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    split = SplitInfo("photos", ("cat", "dog"), {}, "")
    return Run(
        path=tmp_path,
        status=RunStatus.COMPLETE,
        created_utc="",
        config=RunConfig(),
        environment={},
        split=split,
        families=(),
        studies=(),
    )


def test_what_is_written_is_read(run: Run) -> None:
    every = [Thumbnail(FIRST, HOSTILE, 1, "train"), Thumbnail(SECOND, "cat/1.jpg", 0, "test")]
    thumbnails.write(run.path, every)
    assert list(thumbnails.of_run(run).values()) == every
    assert [each.name for each in run.path.iterdir()] == ["thumbnails.json"]


def test_a_run_of_an_earlier_version_has_none(run: Run) -> None:
    assert thumbnails.of_run(run) == {}
    assert thumbnails.jpeg(run.path, FIRST) == b""


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 3, "pictures": []}',
        '{"schema_version": "x", "pictures": {}}',
        '{"schema_version": 1, "pictures": []}',
        json.dumps({"schema_version": 1, "pictures": {FIRST: {"id": "cat.jpg", "label": 0}}}),
        json.dumps({"schema_version": 1, "pictures": {FIRST: {"id": "cat.jpg", "label": "0", "part": "test"}}}),
        json.dumps({"schema_version": 1, "pictures": {"../../key": {"id": "cat.jpg", "label": 0, "part": "test"}}}),
    ],
)
def test_a_list_that_is_damaged_hostile_or_newer_is_none(run: Run, content: str) -> None:
    (run.path / "thumbnails.json").write_text(content)
    assert thumbnails.of_run(run) == {}


def test_a_picture_of_a_class_that_the_run_does_not_have_is_left_out(run: Run) -> None:
    thumbnails.write(run.path, [Thumbnail(FIRST, "a", 7, "test"), Thumbnail(SECOND, "b", 1, "test")])
    assert list(thumbnails.of_run(run)) == [SECOND]
    assert thumbnails.of_run(replace(run, split=replace(run.split, classes=()))) == {}


@pytest.mark.parametrize(("content", "read"), [(JPEG, JPEG), (b"<svg onload=alert(1)>", b""), (b"", b"")])
def test_only_a_small_jpeg_is_given(run: Run, content: bytes, read: bytes) -> None:
    file = thumbnails.path(run.path, FIRST)
    file.parent.mkdir()
    file.write_bytes(content)
    assert thumbnails.jpeg(run.path, FIRST) == read
    file.write_bytes(content.ljust(thumbnails.MAX_BYTES + 1, b"\0"))
    assert thumbnails.jpeg(run.path, FIRST) == b""
