"""Two runs side by side: what is told apart, what is folded, what cannot be compared."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import stats
from bench.cli.compare import print_comparison
from bench.config import SETTINGS
from bench.records import Run, Trial
from bench.report import compare
from bench.report.compare import ComparedFamily
from bench.runs.thumbnails import Thumbnail

from .browser import launched, opened
from .conftest import with_seeds
from .saved import save_predictions, save_thumbnails

EQUAL = len(SETTINGS) - len(compare.UNCOMPARED) - 1
"""Number of settings that two runs of other seeds have in common."""


@pytest.fixture
def before(run: Run, tmp_path: Path) -> Run:
    return replace(run, path=tmp_path / "before")


@pytest.fixture
def after(before: Run) -> Run:
    return replace(before, path=before.path.with_name("after"))


def of_family(run: Run, family: str, **changes: Any) -> Run:
    """The run with changes to every trial of a family; those to its cost are in `cost`."""
    cost = changes.pop("cost", {})

    def changed(trial: Trial) -> Trial:
        if trial.family != family:
            return trial
        return replace(trial, cost=replace(trial.cost, **cost) if trial.cost else None, **changes)

    return replace(
        run, studies=tuple(replace(study, trials=tuple(map(changed, study.trials))) for study in run.studies)
    )


def predicted(run: Run, right: Mapping[str, list[int]], order: list[int] | None = None, seed: int = 0) -> None:
    """Writes a split of as many test pictures, and predictions of the families that have `right` of them right."""
    for family, each in right.items():
        places = np.array(order or range(len(each)))
        truth = np.where(np.array(each), 0.9, 0.1)[places]
        pictures = [f"{place:064x}" for place in places]
        items = [{"sha256": sha256, "label": 0, "part": "test"} for sha256 in pictures]
        run.path.mkdir(parents=True, exist_ok=True)
        (run.path / "split.json").write_text(json.dumps({"items": items}), encoding="utf-8")
        save_predictions(run.path, family, pictures, np.zeros(len(places)), np.stack([truth, 1 - truth], axis=1), seed)


def with_wrong(run: Run, family: str, wrong: list[int], order: list[int] | None = None, n: int = 200) -> Run:
    """The run with a family whose seeds have the first so many of n pictures wrong, the run's own seed first."""
    right = np.array([np.arange(n) >= each for each in wrong])
    for seed, own in enumerate(right):
        predicted(run, {family: own.tolist()}, order, seed)

    def scored(trial: Trial) -> Trial:
        return with_seeds(trial, right) if trial.family == family and trial.test else trial

    return replace(run, studies=tuple(replace(study, trials=tuple(map(scored, study.trials))) for study in run.studies))


def changed(before: Run, after: Run) -> dict[str, ComparedFamily]:
    return {change.family: change for change in compare.comparison(before, after).changed}


def words(page: str) -> str:
    shown = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", shown)).replace("\u00a0", " ").replace("\u202f", " ").split())


def test_a_run_and_its_repetition_are_the_same(before: Run, after: Run, tmp_path: Path) -> None:
    compared = compare.comparison(before, after)
    assert compared.headline == "Both runs have the same results."
    assert (list(compared.changed), list(compared.notices)) == ([], [])
    assert len(compared.unchanged) == 6
    assert not any(group.differing for group in compared.groups)


def test_what_differs_is_shown_and_what_is_equal_is_counted(before: Run, after: Run, tmp_path: Path) -> None:
    slower = {"train_time_s": 60.0, "fit_time_s": 60.0}
    after = replace(of_family(after, "cnn", cost=slower), config=replace(after.config, seed=1, out="elsewhere"))
    page = compare.html(compare.comparison(before, after), tmp_path)
    text = words(page)
    assert "cnn 91.1 % 86.0–94.5 % 91.1 %" in text.replace("86.1", "86.0")
    assert "31.7 s → 1 min 1.89 times" in text
    assert "5 families with the same configuration and the same result in both" in text
    assert f"Configuration Configuration: different Before After seed 0 1 {EQUAL} equal in both" in text
    assert "elsewhere" not in text
    assert "Environment No difference. 9 equal in both" in text
    assert " open>" not in page
    unfolded = compare.html(compare.comparison(before, after), tmp_path, every=True)
    assert unfolded.count("<details") == unfolded.count(" open>") > page.count("<details")


def test_a_training_time_within_the_noise_is_no_difference(before: Run, after: Run) -> None:
    assert list(changed(before, of_family(after, "cnn", cost={"train_time_s": 36.0}))) == []
    assert list(changed(before, of_family(after, "cnn", cost={"train_time_s": 39.0}))) == ["cnn"]


def test_models_are_paired_picture_by_picture_whatever_their_order(before: Run, after: Run) -> None:
    """Six pictures gained and none lost: p is 2 / 2**6, and twice that for two families."""
    predicted(before, {"cnn": [1] * 10 + [0] * 10, "mobilenet_v2": [1] * 20})
    predicted(after, {"cnn": [1] * 16 + [0] * 4, "mobilenet_v2": [1] * 20}, order=list(range(19, -1, -1)))
    tests = compare.comparison(before, after).tests
    assert (tests["cnn"].lost, tests["cnn"].gained, tests["cnn"].pictures) == (0, 6, 20)
    assert tests["cnn"].p == pytest.approx(2 * 2 / 2**6)
    assert tests["cnn"].change.low < 0.3 < tests["cnn"].change.high
    assert tests["mobilenet_v2"].p == 1


def test_a_significant_change_is_the_headline(before: Run, after: Run, tmp_path: Path) -> None:
    predicted(before, {"cnn": [1] * 10 + [0] * 20})
    predicted(after, {"cnn": [1] * 30})
    best = before.best("cnn")
    assert best is not None
    assert best.test is not None
    after = of_family(after, "cnn", test=replace(best.test, accuracy=1.0, accuracy_low=0.88, accuracy_high=1.0))
    compared = compare.comparison(before, after)
    assert compared.headline == (
        "cnn is better than before by more than the test pictures explain; the noise of seeds is unknown."
    )
    text = words(compare.html(compared, tmp_path))
    assert "+8.9 " in text
    assert "p < 0.001 20 gained, 0 lost of 30" in text


def test_with_several_seeds_the_means_are_compared(before: Run, after: Run, tmp_path: Path) -> None:
    """In other orders of the pictures; by the run's own seed alone, 20 pictures gained and none lost, p < 0.001."""
    order = list(range(199, -1, -1))
    before, after = with_wrong(before, "cnn", [40, 12, 25]), with_wrong(after, "cnn", [20, 31, 22], order)
    compared = compare.comparison(before, after)
    change = changed(before, after)["cnn"]
    one, other = (np.array([np.arange(200) >= each for each in wrong]) for wrong in ([40, 12, 25], [20, 31, 22]))
    assert change.difference == pytest.approx(4 / 600)
    assert change.test is not None
    assert (change.test.change, change.test.seeds) == (stats.change(one, other), (3, 3))
    assert change.test.p == change.test.change.p > 0.1
    assert compared.headline == "cnn is not measurably better or worse than before."
    text = words(compare.html(compared, tmp_path))
    assert "They include the noise of the test pictures and, where a run has several seeds, of the seeds" in text
    assert "McNemar" not in text
    assert "mean of 3 seeds" in text
    assert "3 and 3 seeds on 200" in text
    out = io.StringIO()
    print_comparison(compared, tmp_path / "page.html", stream=out)
    assert re.search(r"^cnn +87\.2 % +87\.8 % +\+0\.7 +p = 0\.", out.getvalue(), re.M)
    assert "accuracy: mean of 3 seeds; if both" in out.getvalue()


def test_a_change_beyond_the_noise_of_seeds_is_the_headline(before: Run, after: Run) -> None:
    before, after = with_wrong(before, "cnn", [40, 41, 39]), with_wrong(after, "cnn", [80, 81, 83])
    assert compare.comparison(before, after).headline == "cnn is measurably worse than before."


@pytest.mark.parametrize(("wrong", "significant"), [([40, 43], False), ([20, 43], False), ([70, 72], True)])
def test_one_seed_against_several_is_never_a_measurable_change(
    before: Run, after: Run, tmp_path: Path, wrong: list[int], significant: bool
) -> None:
    """Before 40 of 200 are wrong; the mean of the seeds counts, not the first one alone."""
    before, after = with_wrong(before, "cnn", [40]), with_wrong(after, "cnn", wrong)
    change = changed(before, after)["cnn"]
    assert change.test is not None
    assert (change.test.significant, change.test.change.calibrated) == (significant, False)
    assert change.test.change.difference == pytest.approx((40 - sum(wrong) / 2) / 200)
    compared = compare.comparison(before, after)
    assert ("the noise of seeds is unknown" in compared.headline) == significant
    text = words(compare.html(compared, tmp_path))
    assert "1 and 2 seeds on 200" in text
    assert "another seed may change as much." in text


def test_different_pictures_are_not_paired_and_the_page_says_so(before: Run, after: Run, tmp_path: Path) -> None:
    predicted(before, {"cnn": [1] * 20})
    predicted(after, {"cnn": [1] * 19})
    after = of_family(replace(after, split=replace(after.split, sha256="other")), "cnn", value=0.5)
    compared = compare.comparison(before, after)
    assert [notice.title for notice in compared.notices] == ["Two splits"]
    assert "cannot be paired" in compared.headline
    text = words(compare.html(compared, tmp_path))
    assert "not paired intervals overlap" in text
    assert "sha256 of the split 9f2c44c1b0d6a7e1 other" in text


def test_the_same_test_pictures_of_two_splits_are_paired(before: Run, after: Run) -> None:
    for each in (before, after):
        predicted(each, {"cnn": [1] * 20})
    (notice,) = compare.comparison(before, replace(after, split=replace(after.split, sha256="other"))).notices
    assert "compare picture by picture" in notice.text
    other = replace(after, split=replace(after.split, classes=("dog", "cat")))
    assert compare.comparison(before, other).tests == {}


@pytest.mark.parametrize(
    "other", [{"environment": {"cpu": "another"}}, {"cores": 1}], ids=["processor", "cores of a trial"]
)
def test_times_of_two_machines_do_not_compare(before: Run, after: Run, tmp_path: Path, other: dict[str, Any]) -> None:
    cores = other.pop("cores", None)
    after = of_family(replace(after, **other), "cnn", cost={"train_time_s": 99.0})
    for family in after.families if cores else ():
        after = of_family(after, family.name, cost={"cores": cores})
    compared = compare.comparison(before, after)
    (notice,) = compared.notices
    assert notice.title == "Times are not comparable"
    assert notice.text.startswith("The two runs used different hardware")
    assert [change.ratio for change in compared.unchanged] == [None] * 6
    assert "not comparable" in words(compare.html(compared, tmp_path))


def test_a_family_of_one_run_only_stands_there_with_the_reason(before: Run, after: Run) -> None:
    families = tuple(family for family in after.families if family.name != "mobilenet_v2")
    studies = tuple(study for study in after.studies if study.family != "mobilenet_v2")
    change = changed(before, replace(after, families=families, studies=studies))["mobilenet_v2"]
    assert (change.after.trial, change.after.reason) == (None, "not in this run")
    assert change.before.value == pytest.approx(0.9333)


def test_runs_without_a_result_compare(empty_run: Run, before: Run, tmp_path: Path) -> None:
    compared = compare.comparison(empty_run, before)
    assert compared.headline == "No family has a result in both runs."
    assert "before (running)" in compared.notices[-1].text
    assert "waiting for its turn" in words(compare.html(compared, tmp_path))


def test_a_hostile_run_stays_text(hostile_run: Run, before: Run, tmp_path: Path) -> None:
    for pair in ((hostile_run, before), (before, hostile_run)):
        page = compare.html(compare.comparison(*pair), tmp_path)
        markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
        assert "<img" not in markup
        assert not set(markup) & {"\u2028", "\u202e", "\x1b"}
        assert "secret" not in page
        assert "/home/alice" not in page
        assert "default-src 'none'; script-src 'sha256-" in html.unescape(page)


def test_only_pages_below_the_comparison_are_linked(before: Run, after: Run, tmp_path: Path) -> None:
    for each in (before, after):
        each.path.mkdir(exist_ok=True)
        (each.path / "report.html").touch()
    compared = compare.comparison(before, after)
    links = re.compile(r'<a href="([^"]*report[^"]*)">')
    assert links.findall(compare.html(compared, tmp_path)) == ["before/report.html", "after/report.html"]
    assert links.findall(compare.html(compared, tmp_path / "elsewhere")) == []


def test_the_terminal_says_the_same_in_short(before: Run, after: Run, tmp_path: Path) -> None:
    after = of_family(replace(after, config=replace(after.config, seed=1)), "cnn", cost={"train_time_s": 60.0})
    compared, short, long = compare.comparison(before, after), io.StringIO(), io.StringIO()
    print_comparison(compared, tmp_path / "page.html", stream=short)
    print_comparison(compared, tmp_path / "page.html", every=True, stream=long)
    assert re.search(r"^cnn +91.1 % +91.1 % +0.0 +not paired +31.7 s → 1 min +287 k$", short.getvalue(), re.M)
    assert "5 families without a change, --all lists them" in short.getvalue()
    assert f"configuration: 1 different, {EQUAL} equal\n    seed: 0 → 1\n" in short.getvalue()
    assert short.getvalue().endswith(f"page: {tmp_path / 'page.html'}\n")
    assert "    budget: 12 trials\n" in long.getvalue()
    assert "dummy" in long.getvalue()
    assert "dummy" not in short.getvalue()


@pytest.mark.slow
def test_a_browser_opens_it_without_a_complaint(before: Run, after: Run, tmp_path: Path) -> None:
    after = of_family(replace(after, config=replace(after.config, seed=1)), "cnn", cost={"train_time_s": 60.0})
    (tmp_path / "page.html").write_text(compare.html(compare.comparison(before, after), tmp_path), encoding="utf-8")
    with launched() as browser, opened(browser, tmp_path / "page.html") as shown:
        assert not shown.get_by_text("dummy").is_visible()
        shown.get_by_text("5 families with the same configuration").click()
        assert shown.get_by_text("dummy").is_visible()


# -- pictures with another answer


def flipped(before: Run, after: Run) -> tuple[Run, Run]:
    """The runs with cnn right on the first 28 of 30 pictures, then on the last 20; one has a thumbnail."""
    predicted(before, {"cnn": [1] * 28 + [0] * 2})
    predicted(after, {"cnn": [0] * 10 + [1] * 20})
    for run in (before, after):
        manifest = json.loads((run.path / "split.json").read_text(encoding="utf-8"))
        for place, item in enumerate(manifest["items"]):
            item["id"] = f"cats/{place}<b>.jpg"
        (run.path / "split.json").write_text(json.dumps(manifest), encoding="utf-8")
    save_thumbnails(after.path, [Thumbnail(f"{0:064x}", "cats/0<b>.jpg", 0, "test")])
    return before, after


def test_pictures_with_another_answer_are_shown_and_counted(before: Run, after: Run, tmp_path: Path) -> None:
    compared = compare.comparison(*flipped(before, after))
    page = compare.html(compared, tmp_path)
    shown, out = words(page), io.StringIO()
    assert "cnn 10 pictures were right and are wrong now, 2 the other way" in shown
    assert "10 pictures right before, wrong after" in shown
    assert "2 pictures wrong before, right after" in shown
    assert page.count('<img src="data:image/jpeg') == 1
    assert "<b>" not in page
    assert re.search(r"cat, taken for another class \(90\.0 %\) cats/0<b>\.jpg", shown)
    assert re.search(r"cat 30 93\.3 % 66\.7 % p = 0\.039", shown)
    print_comparison(compared, tmp_path / "page.html", stream=out)
    assert "cnn: 10 pictures were right and are wrong now, 2 the other way (cats/0<b>.jpg, " in out.getvalue()


def test_without_a_flip_there_is_no_section(before: Run, after: Run, tmp_path: Path) -> None:
    for run in (before, after):
        predicted(run, {"cnn": [1] * 20 + [0] * 4})
    compared = compare.comparison(before, after)
    assert compared.flips == {}
    assert "Pictures with another answer" not in compare.html(compared, tmp_path)


def test_an_edited_file_of_a_family_is_named(before: Run, after: Run) -> None:
    def hashed(run: Run, sha256: str) -> Run:
        families = (replace(family, sha256=sha256 if family.name == "cnn" else "same") for family in run.families)
        return replace(run, families=tuple(families))

    flipped(before, after)
    (notice,) = compare.comparison(hashed(before, "old"), hashed(after, "new")).notices
    assert (notice.title, notice.text) == ("Another file", "cnn.py changed since the run before.")
    assert compare.comparison(hashed(before, ""), hashed(after, "new")).notices == []
