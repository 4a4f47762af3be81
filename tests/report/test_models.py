"""The chosen models one by one, and the pictures beside them: figures as data, then what a reader sees."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.records import Epoch, Run, SplitInfo
from bench.report import photos, svg
from bench.report.sections import doubtful_labels, models
from bench.report.sections.confusion import confusion
from bench.report.sections.learning_curves import TABLED, learning_curves
from bench.report.sections.reliability import calibration
from bench.runs import predictions, thumbnails
from bench.runs.predictions import Predictions
from bench.runs.thumbnails import Thumbnail

from .conftest import HOSTILE, TPE, changed, section, trial
from .test_page import Page

N = 180


def sha256(number: int) -> str:
    return f"{number:064x}"


def of(labels: Sequence[int], probabilities: Sequence[Sequence[float]]) -> Predictions:
    names = np.array([sha256(number) for number in range(len(labels))])
    return Predictions(names, np.array(labels, np.int64), np.array(probabilities, np.float32))


def two_classes(wrong: Mapping[int, float], n: int = N) -> Predictions:
    """Every other picture is a dog; those numbers are wrong, with the probability of the wrong class."""
    labels = [number % 2 for number in range(n)]
    rows = [[0.0, 0.0] for _ in labels]
    for number, label in enumerate(labels):
        sure = wrong.get(number, 0.1)
        rows[number][label], rows[number][1 - label] = 1 - sure, sure
    return of(labels, rows)


def save(run: Run, every: Mapping[str, Predictions]) -> None:
    for family, each in every.items():
        path = predictions.path(run.path, family)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, sha256=each.sha256, labels=each.labels, probabilities=each.probabilities)


def keep(run: Run, every: Sequence[Thumbnail], size: int = 96) -> None:
    """Writes thumbnails: noise, which takes the most room."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=75)
    (run.path / "thumbnails").mkdir(parents=True, exist_ok=True)
    for each in every:
        thumbnails.path(run.path, each.sha256).write_bytes(written.getvalue())
    thumbnails.write(run.path, every)


def words(run: Run, name: str = "models") -> str:
    return Page(section(run, name)).words


@pytest.fixture
def scored(run: Run, tmp_path: Path) -> Run:
    """The run with predictions and thumbnails: pictures 0 to 4 are wrong for all three families."""
    run = replace(run, path=tmp_path / "run")
    save(
        run,
        {
            "mobilenet_v2": two_classes({number: 0.6 + number / 100 for number in range(12)}),
            "cnn": two_classes({number: 0.9 - number / 100 for number in range(16)}),
            "dummy": two_classes({number: 0.55 + number / 1000 for number in [*range(5), *range(50, 130)]}),
        },
    )
    test = [Thumbnail(sha256(number), f"test/{number}.jpg", number % 2, "test") for number in range(20)]
    train = [Thumbnail(sha256(1000 + n), f"train/{n}.jpg", n % 2, "train") for n in range(6)]
    keep(run, [*train, *test])
    return run


# -- learning curves


def epochs(*values: tuple[float, float | None, float, float], phases: Sequence[str] = ()) -> tuple[Epoch, ...]:
    named = phases or [""] * len(values)
    return tuple(Epoch(n, *each, 1.0, name) for n, (each, name) in enumerate(zip(values, named, strict=True), start=1))


class TestCurves:
    def curves(self, history: tuple[Epoch, ...]) -> Any:
        return learning_curves(trial("cnn", TPE, 0, 1, 0.9, 3.0, 1000, history=history))

    def test_phases_and_the_best_epoch(self) -> None:
        rising = [(1.0, 0.5, 1.0, 0.5), (0.9, 0.6, 0.9, 0.7), (0.5, 0.8, 0.6, 0.9), (0.4, 0.9, 0.7, 0.9)]
        found = self.curves(epochs(*rising, phases=["head", "head", "fine-tuning", "fine-tuning"]))
        assert [(phase.name, phase.epochs[0], phase.epochs[-1]) for phase in found.phases] == [
            ("head", 1, 2),
            ("fine-tuning", 3, 4),
        ]
        assert found.best.epoch == 3
        said = found.summary.replace("\u00a0", " ").replace("\u202f", " ")
        assert said.startswith("4 epochs, highest validation accuracy 90.0 % in epoch 3; ")
        assert said.endswith("; head: epochs 1 to 2 and fine-tuning: epochs 3 to 4")
        assert found.losses.count('class="phase"') == found.values.count('class="phase"') == 1
        assert ">head</text>" in found.losses
        assert ">fine-tuning</text>" in found.losses

    def test_what_was_not_measured_is_a_gap(self) -> None:
        found = self.curves(epochs((1.0, None, 1.0, 0.5), (math.nan, 0.6, math.inf, 0.6), (0.5, 0.7, 0.5, math.nan)))
        assert found.best.epoch == 2
        assert "nan" not in found.losses + found.values
        assert "inf" not in found.losses + found.values
        assert found.losses.count("<circle") == 4  # each stroke is a single point

    def test_one_epoch_is_a_dot_with_an_axis_that_can_be_read(self) -> None:
        found = self.curves(epochs((0.7, 0.5, 0.7, 0.5)))
        assert found.values.count("<circle") == 3
        assert max(len(said) for said in re.findall(r">([^<]*)</text>", found.values)) <= len("50.2 %")

    def test_a_long_training_has_a_short_table_with_its_best_and_its_last_epoch(self) -> None:
        rising = [(1.0, 0.5, 1.0, 0.5 + (number == 333) / 4) for number in range(1, 1001)]
        rows = self.curves(epochs(*rising)).rows
        assert len(rows) <= TABLED + 3
        assert {1, 333, 1000} <= {epoch.epoch for epoch in rows}

    def test_what_is_not_trained_by_epochs_has_none(self) -> None:
        assert self.curves(()) is None


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (0.91, 0.99, ["90 %", "92 %", "94 %", "96 %", "98 %", "100 %"]),
        (1.0, 1.0, ["99.8 %", "100 %"]),
        (0.0, 0.0, ["0 %", "0.2 %"]),
    ],
)
def test_an_axis_of_shares_has_round_ticks_within_them(low: float, high: float, ticks: list[str]) -> None:
    axis = svg.percentages("", low, high)
    assert [said.replace("\u00a0", " ").replace("\u202f", " ") for _, said in axis.ticks] == ticks
    assert axis.low <= low <= high <= axis.high <= 1


@pytest.mark.parametrize(
    ("last", "ticks"), [(1, [1]), (2, [1, 2]), (13, [1, 2, 4, 6, 8, 10, 12]), (100, [1, 20, 40, 60, 80, 100])]
)
def test_an_axis_of_epochs_has_whole_ones(last: int, ticks: list[int]) -> None:
    axis = svg.counts("epoch", last)
    assert [value for value, _ in axis.ticks] == ticks
    assert axis.low < axis.high


# -- confusion


class TestConfusion:
    def test_what_is_taken_for_what(self) -> None:
        guesses = [0, 0, 1, 1, 1, 1, 2, 0, 0, 0]
        labels = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
        found = confusion(of(labels, np.eye(4)[guesses].tolist()), ("cat", "dog", "owl", "fox"))
        assert found.matrix == [
            [2, 1, 0, 0], [0, 3, 0, 0], [3, 0, 1, 0], [0, 0, 0, 0]
        ]  # fmt: skip
        assert [(pair.true, pair.predicted, pair.count, pair.n) for pair in found.pairs] == [
            ("owl", "cat", 3, 4),
            ("cat", "dog", 1, 3),
        ]
        assert found.hardest == [0, 1, 2]
        assert [found.taken_for(name) for name in ("owl", "cat", "dog", "fox")] == ["cat", "dog", "", ""]

    def test_many_classes_are_a_list(self, scored: Run) -> None:
        names = tuple(f"class {number:02d}" for number in range(30))
        labels = [number % 30 for number in range(N)]
        guesses = [(label + (number >= 30 and label < 20)) % 30 for number, label in enumerate(labels)]
        every = of(labels, np.eye(30)[guesses].tolist())
        save(scored, dict.fromkeys(("mobilenet_v2", "cnn", "dummy"), every))
        run = replace(scored, split=SplitInfo("photos", names, {"test": dict.fromkeys(names, 6)}, ""))
        shown = words(run)
        assert "30 classes are too many for a matrix; the list has the 15 most frequent of 20 confusions" in shown
        assert "class 00 class 01 5 of 6 83.3 %" in shown
        assert "The classes with the lowest recall" in shown
        assert re.search(r"class 09 6 16\.7 % [\d.–]* % 16\.7 % [\d.–]* % 16\.7 % [\d.–]* % class 10 ", shown)
        assert "class 20 6 100" not in shown


# -- calibration


class TestCalibration:
    def test_the_error_is_the_mean_distance_over_pictures(self) -> None:
        sure = [0.9] * 8 + [0.62] * 2
        right = [True] * 6 + [False] * 2 + [True, False]
        rows = [[p, 1 - p] if good else [1 - p, p] for p, good in zip(sure, right, strict=True)]
        found = calibration(of([0] * 10, rows))
        assert [(each.n, round(each.confidence, 6), each.accuracy) for each in found.bins] == [
            (2, 0.62, 0.5),
            (8, 0.9, 0.75),
        ]
        assert found.ece == pytest.approx((2 * 0.12 + 8 * 0.15) / 10)
        assert found.summary.replace("\u00a0", " ").replace("\u202f", " ") == (
            "On average it is 84.4 % sure and 70.0 % right: too sure by 14.4 points."
        )

    def test_bins_have_their_upper_end(self) -> None:
        found = calibration(of([0, 0, 0], [[1.0, 0.0], [0.5, 0.5], [0.75, 0.25]]))
        assert [(round(each.low * 15), round(each.high * 15)) for each in found.bins] == [(7, 8), (11, 12), (14, 15)]

    def test_a_model_that_says_one_thing_alone(self) -> None:
        found = calibration(of([0, 1], [[1.0, 0.0], [1.0, 0.0]]))
        assert (found.ece, found.accuracy, len(found.bins)) == (0.5, 0.5, 1)


# -- the page


def test_the_best_model_comes_first_and_stands_open(scored: Run) -> None:
    shown = Page(section(scored, "models"))
    keys = [(a["data-key"], "open" in a) for _, a in shown.elements if a.get("class") == "model"]
    assert keys == [("model mobilenet_v2 · random weights", True), ("model cnn", False), ("model dummy", False)]
    assert "93.3 % on the test pictures, optuna:tpe #1" in shown.words
    assert "It is not trained in epochs, so there is no learning curve." in shown.words


def test_with_several_seeds_a_model_is_that_of_the_runs_own(seeded_run: Run) -> None:
    said = words(seeded_run)
    assert "on the 180 test pictures that all models share, with the run's own seed." in said
    assert "98.3 % on the test pictures with the run's own seed" in said
    assert said.index("88.9 % on the test pictures") < said.index("98.3 % on the test pictures")


def test_every_chart_has_its_numbers_in_words(scored: Run) -> None:
    shown = Page(section(scored, "models"))
    charts = [a for _, a in shown.elements if a.get("class") == "small-chart"]
    assert len(charts) == 2 + 2 + 3  # two curves of each but the dummy, a reliability diagram of all
    assert all(a["role"] == "img" and "table below" in a["aria-label"] for a in charts)
    assert "cats" not in shown.words
    assert "cat 84 93.3 % 6 6.7 % 90" in shown.words  # the matrix of the best
    keys = [a["data-key"] for tag, a in shown.elements if tag == "details"]
    assert len(set(keys)) == len(keys)


def test_misclassified_pictures_stand_with_both_classes_and_the_probability(scored: Run) -> None:
    shown = Page(section(scored, "models"))
    assert "Misclassified pictures 12 of 180 test pictures. " in shown.words
    assert (
        "12 of 180 test pictures. The most confident mistakes are first. dog , predicted as cat (71.0 %)" in shown.words
    )
    assert "test/11.jpg cat , predicted as dog (70.0 %) dog 70.0 %, cat 30.0 % test/10.jpg" in shown.words
    images = [a for tag, a in shown.elements if tag == "img"]
    sources = [a["src"] for a in images if "src" in a]
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    shown_once = [a["data-photo"] for a in images if "src" in a]
    assert shown_once == list(dict.fromkeys(a.get("data-photo") or a["data-same"] for a in images))
    assert {a["alt"] for a in images} == {"A picture of cat", "A picture of dog"}
    assert {a["loading"] for a in images} == {"lazy"}


def test_what_all_models_get_wrong_is_a_label_to_look_at(scored: Run) -> None:
    shown = words(scored, "doubtful_labels")
    assert "5 test pictures are misclassified by all 3 models: they are hard, or their labels are wrong." in shown
    assert [int(number) for number in re.findall(r"test/(\d+)\.jpg", shown)] == [4, 3, 2, 1, 0]
    assert "labelled dog , predicted as cat by 3 of 3 families dog: 31.6 % on average" in shown
    assert "mobilenet_v2: dog 60.0 %, cnn: dog 90.0 %, dummy: dog 55.0 % test/0.jpg" in shown
    assert doubtful_labels.section(scored).summary == "5\u00a0pictures that most families get wrong"


def test_one_model_has_nothing_in_common(scored: Run) -> None:
    for family in ("cnn", "dummy"):
        predictions.path(scored.path, family).unlink()
    assert doubtful_labels.section(scored).summary == ""
    shown = words(scored)
    assert shown.count("Its predictions on the test pictures are not in the run folder, or cannot be read.") == 2


def test_a_baseline_has_no_pictures(scored: Run) -> None:
    infos = tuple(replace(family, learns=family.name != "dummy") for family in scored.families)
    shown = section(replace(scored, families=infos), "models")
    assert 'id="mistakes-2"' in shown
    assert "85 of 180 test pictures." in Page(shown).words
    assert "#mistakes-3" not in shown


def test_a_number_of_mistakes_leads_to_the_pictures_of_both_classes(scored: Run) -> None:
    shown = Page(section(scored, "models")).elements
    links = [a for tag, a in shown if tag == "a" and a["href"] == "#mistakes-1"]
    assert [a["data-pair"] for a in links] == ["0-1", "1-0"]
    first = [a["data-pair"] for tag, a in shown if tag == "li" and "data-pair" in a][:12]
    assert first == ["1-0", "0-1"] * 6


def test_a_run_without_thumbnails_says_so(scored: Run) -> None:
    (scored.path / "thumbnails.json").unlink()
    source = section(scored, "models")
    assert "<img" not in source
    assert "12 of 180 test pictures. The run has no thumbnails of them." in Page(source).words
    assert "Samples" not in words(scored, "data")


def test_a_thumbnail_that_is_missing_leaves_the_name(scored: Run) -> None:
    thumbnails.path(scored.path, sha256(11)).unlink()
    assert "no thumbnail dog , predicted as cat (71.0 %) cat 71.0 %, dog 29.0 % test/11.jpg" in words(scored)


def test_predictions_of_other_classes_are_not_believed(scored: Run) -> None:
    labels = np.arange(N) % 3
    save(scored, dict.fromkeys(("mobilenet_v2", "cnn", "dummy"), of(labels.tolist(), np.eye(3)[labels].tolist())))
    assert words(scored).count("cannot be read") == 3


def test_a_run_that_goes_on_and_one_without_a_model(run: Run, empty_run: Run) -> None:
    unscored = changed(run, lambda each: replace(each, test=None))
    going, ended = (replace(unscored, status=status) for status in ("running", "partial"))
    assert words(going).count("It will be scored on the test pictures after the search.") == 3
    assert "93.9 % in validation" in words(going)
    assert words(ended).count("It was not scored on the test pictures.") == 3
    assert models.section(empty_run).summary == ""


def test_the_curves_of_folds_are_those_of_the_first(folded_run: Run) -> None:
    assert words(folded_run).count("The curves are those of the first fold.") == 2


def test_the_page_stays_light(scored: Run) -> None:
    """Pictures of noise, as large as they get; every one is wrong for all."""
    n = 600
    split = replace(scored.split, counts={"test": {"cat": 300, "dog": 300}})
    run = replace(scored, split=split)
    save(run, dict.fromkeys(("mobilenet_v2", "cnn", "dummy"), two_classes(dict.fromkeys(range(n), 0.9), n)))
    every = [Thumbnail(sha256(number), f"{number}.jpg", number % 2, "test") for number in range(96)]
    train = [Thumbnail(sha256(5000 + number), f"{number}.jpg", number % 2, "train") for number in range(60)]
    keep(run, [*train, *every], size=192)
    source = section(run, "models")
    carried = sum(len(uri) for uri in re.findall(r"data:image/[^\"]*", source + section(run, "data")))
    carried += sum(len(uri) for uri in re.findall(r"data:image/[^\"]*", section(run, "doubtful_labels")))
    assert (
        carried <= models.MAX_BYTES + doubtful_labels.MAX_BYTES + photos.SAMPLE_BYTES + photos.GROUP_BYTES <= 1_000_000
    )
    assert re.search(r"keep the page small; \d+.more thumbnails are in the run folder", Page(source).words)


def test_hostile_names_are_text(hostile_run: Run, tmp_path: Path) -> None:
    (study,) = hostile_run.studies
    family = "hostile"  # its file is called so; all else is hostile
    trials = tuple(replace(each, family=family) for each in study.trials)
    families = (replace(hostile_run.families[0], name=family),)
    run = replace(
        hostile_run, path=tmp_path / "run", studies=(replace(study, family=family, trials=trials),), families=families
    )
    save(run, {family: two_classes(dict.fromkeys(range(9), 0.8))})
    test = [Thumbnail(sha256(number), f"{HOSTILE}/{number}.jpg", number % 2, "test") for number in range(9)]
    keep(run, [*test, Thumbnail(sha256(99), HOSTILE, 0, "train")])
    for name in ("models", "data"):
        source = section(run, name)
        shown = Page(source)
        assert {a["src"][:15] for tag, a in shown.elements if tag == "img" and "src" in a} == {"data:image/jpeg"}
        assert not [attribute for _, a in shown.elements for attribute in a if attribute.startswith("on")]
        assert not [tag for tag, _ in shown.elements if tag in ("b", "script")]
        assert "<img src=x onerror=alert(1)>\"'&</script><b>\\u2028\\u202e\\ncat\\ud800" in shown.words
        assert not set(source) & {"\u2028", "\u202e", "\x1b", "\ud800"}


# -- samples of the data


def test_the_data_are_shown_class_by_class(scored: Run) -> None:
    shown = Page(section(scored, "data"))
    assert "Samples Random training pictures. cat dog" in shown.words
    assert [a["alt"] for tag, a in shown.elements if tag == "img"] == [f"train/{n}.jpg" for n in (0, 2, 4, 1, 3, 5)]


def test_of_many_classes_some_are_shown(scored: Run) -> None:
    names = tuple(f"class {number:03d}" for number in range(100))
    split = replace(scored.split, classes=names, counts={"train": dict.fromkeys(names, 5), "test": {}})
    keep(scored, [Thumbnail(sha256(number), f"{number}.jpg", number, "train") for number in range(0, 100, 2)], 32)
    shown = Page(section(replace(scored, split=split), "data"))
    assert "Random training pictures, of 50 of the 100 classes." in shown.words
    assert "samples" in {a.get("data-key") for _, a in shown.elements}
