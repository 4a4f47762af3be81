"""The history of runs: which ones compare, what changed since when, and how it is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.check.series import (
    BASELINE,
    FamilyHistories,
    LevelChange,
    Reading,
    RunSeries,
    SeriesRun,
    StoredResults,
    Track,
    find,
    history,
    metric_figure,
)
from bench.cli import parser
from bench.cli.history import print_history
from bench.metrics import metric
from bench.runs import results
from bench.runs.results import FamilyResult, FamilyStatus, Results

from . import made
from .made import STEPS

N = 600
HOSTILE = "<img onerror=1>[red]\x1b[2J\u202egnp\n=x"


def family(accuracy: float, draw: int = 0, seeds: int = 3, **changes: Any) -> FamilyResult:
    """A scored family whose accuracies and step times have a little luck of the draw."""
    luck = np.random.default_rng([7, draw]).standard_normal(seeds + 1)
    shares = [accuracy + 0.003 * own for own in luck[1:]]
    times = tuple(np.array(STEPS) * (1 + 0.01 * luck[0]))
    return made.family(shares, n=N, draw=draw, **{"step_time_s": times, **changes})


def run(number: int, families: Mapping[str, FamilyResult], **changes: Any) -> Results:
    """The complete run of a day, counted from 0."""
    month, day = divmod(number, 28)
    usual = {
        "run": f"run-{number}",
        "created_utc": f"2026-{month + 1:02}-{day + 1:02}T03:00:00Z",
        "git_sha": f"{number:09}{'0' * 32}",
        "env": {"cpu": "Fake CPU"},
    }
    return made.results(families, n=N, **{**usual, **changes})


def runs(accuracies: Sequence[float], name: str = "cnn", **changes: Any) -> list[Results]:
    """One run a day with one family."""
    return [run(at, {name: family(share, at, **changes)}) for at, share in enumerate(accuracies)]


def history_of(every: Sequence[Results], baseline: Results | None = None, **options: Any) -> FamilyHistories:
    return history(StoredResults(tuple(every), baseline), **options)


def kept(folder: Path, every: Sequence[Results]) -> Path:
    """Writes run folders."""
    for each in every:
        path = folder / each.run
        path.mkdir(parents=True)
        results.write(path / results.FILE, each)
    return folder


def only(series: Sequence[RunSeries], name: str = "cnn") -> Any:
    (one,) = series
    (found,) = (each for each in one.families if each.name == name)
    return found


def told(every: Sequence[Results], stream: io.TextIOBase | None = None, baseline: Results | None = None) -> str:
    out = stream or io.StringIO()
    found = StoredResults(tuple(every), baseline)
    print_history(history(found), stream=out)
    return out.getvalue()


STEP = [0.9] * 8 + [0.8] * 8
"""A drop that 600 test pictures show."""


# -- what compares


def test_runs_on_other_pictures_or_with_other_settings_are_another_series() -> None:
    first, second, third, fourth = runs([0.9] * 4)
    second = replace(second, config={**second.config, "epochs": 20})
    fourth = replace(third, run="other", created_utc="2026-02-01T00:00:00Z",
                     split=replace(third.split, source="photos", test_ids_sha256="8" * 64))  # fmt: skip
    series = history_of([fourth, third, second, first]).series
    assert [[entry.run for entry in each.runs] for each in series] == [["other"], ["run-0", "run-2"], ["run-1"]]
    assert series[0].differs == ("different test pictures (600 of drawn → 600 of photos)",)
    assert series[1].differs == ("epochs 20 → not set",)
    assert series[2].differs == ()


def test_random_weights_do_not_compare_with_pretrained_ones() -> None:
    every = [
        *(run(at, {"cnn": family(0.9, at, weights="imagenet")}) for at in range(8)),
        *(run(at, {"cnn": family(0.7, at, weights="random (missing)")}) for at in range(8, 16)),
    ]
    (series,) = history_of(every).series
    assert [(each.weights, len(each.quality.readings)) for each in series.families] == [
        ("random (missing)", 8),
        ("imagenet", 8),
    ]
    assert not any(each.quality.changes for each in series.families)
    assert "cnn · random weights" in told(every)


def test_times_compare_on_the_same_hardware_and_the_same_input_only() -> None:
    every = runs([0.9] * 24)
    for at in range(8, 24):
        slow = replace(every[at].families["cnn"], step_time_s=tuple(3 * time for time in STEPS), on_features=at > 15)
        every[at] = replace(every[at], families={"cnn": slow}, env=replace(every[at].env, cpu="Old CPU"))
    tracks = only(history_of(every).series).times
    assert [track.where for track in tracks] == [
        "Old CPU, 4 cores, on features",
        "Old CPU, 4 cores",
        "Fake CPU, 4 cores",
    ]
    assert not any(track.changes for track in tracks)


# -- what changed


def test_a_drop_is_told_with_the_run_and_the_commits_it_lies_between() -> None:
    every = runs(STEP)
    (change,) = only(history_of(every).series).quality.changes
    assert (change.last, change.at) == (7, 8)
    assert change.low < -0.1 < change.high < 0
    assert change.p < 0.001
    assert not change.reconfigured
    text = told(every)
    said = "89.9 % → 80.0 %, −10.0 points (−11.6 to −8.4), p < 0.001, 000000007..000000008"
    assert f"  2026-01-09 run-8, cnn accuracy, {said}\n" in text


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("1" * 40, "1" * 40, "same commit 111111111"),
        ("1" * 40, "2" * 40, "111111111..222222222"),
        ("1" * 40 + "+", "1" * 40 + "+", "111111111+..111111111+"),
        ("1" * 40, "1" * 40 + "+", "111111111..111111111+"),
        ("", "2" * 40, "unknown..222222222"),
        ("", "", ""),
    ],
)
def test_changes_that_are_in_no_commit_are_never_the_same_commit(before: str, after: str, expected: str) -> None:
    both = tuple(SeriesRun("run", "2026-01-01T00:00:00Z", sha) for sha in (before, after))
    series = RunSeries("drawn", N, "", "", both, ())
    assert series.commits(LevelChange(0, 1, 0.9, 0.8)) == expected


def test_a_drop_with_another_configuration_says_so() -> None:
    every = [run(at, {"cnn": family(share, at, params={"depth": 4 if at < 8 else 5})}) for at, share in enumerate(STEP)]
    (change,) = only(history_of(every).series).quality.changes
    assert change.reconfigured
    assert "000000007..000000008, different configuration" in told(every)


def test_a_run_without_the_family_is_left_out_of_its_series(tmp_path: Path) -> None:
    every = runs(STEP)
    every[7] = replace(every[7], families={"cnn": FamilyResult(FamilyStatus.FAILED, "no complete trial out of 3")})
    every = list(find(kept(tmp_path, every)).results)
    found = only(history_of(every).series)
    assert [reading.at for reading in found.quality.readings] == [at for at in range(16) if at != 7]
    assert (found.quality.changes[0].last, found.quality.changes[0].at) == (6, 8)
    assert found.without == {"failed": 1}
    assert "cnn has no scored model in 1 run: 1 failed" in told(every)


def test_a_slower_step_is_told_as_a_factor() -> None:
    every = runs([0.9] * 16)
    for at in range(8, 16):
        slower = tuple(1.5 * time for time in every[at].families["cnn"].step_time_s)
        every[at] = replace(every[at], families={"cnn": replace(every[at].families["cnn"], step_time_s=slower)})
    (change,) = only(history_of(every).series).times[0].changes
    assert change.at == 8
    assert change.after / change.before == pytest.approx(1.5, rel=0.02)
    assert "1.5" in told(every)


def test_a_step_that_is_a_little_slower_is_no_change() -> None:
    slower = tuple(1.05 * time for time in STEPS)
    every = [run(at, {"cnn": family(0.9, step_time_s=STEPS if at < 15 else slower)}) for at in range(30)]
    assert not only(history_of(every).series).times[0].changes


def test_every_change_of_the_parameters_is_one() -> None:
    every = runs([0.9] * 3)
    grown = replace(every[1].families["cnn"], parameters=100_001, params={"depth": 5})
    every[1] = replace(every[1], families={"cnn": grown})
    changes = only(history_of(every).series).parameters.changes
    assert changes == (
        LevelChange(0, 1, 100_000, 100_001, reconfigured=True),
        LevelChange(1, 2, 100_001, 100_000, reconfigured=True),
    )
    assert "cnn parameters, 100,000 → 100,001, 000000000..000000001, different configuration" in told(every)


def test_only_changes_of_the_least_size_count() -> None:
    every = runs(STEP)
    assert only(history_of(every, least=0.09).series).quality.changes
    assert not only(history_of(every, least=0.11).series).quality.changes


def test_one_picture_or_none_makes_no_series_of_a_family() -> None:
    tiny = [
        replace(each, split=replace(each.split, n=1), families={"cnn": family(0.9, correct=np.ones((3, 1), bool))})
        for each in runs([0.9] * 3)
    ]
    assert [series.families for series in history_of(tiny).series] == [()]
    assert "no family has a scored model" in told(tiny)


# -- the baseline and what is no result


def test_the_baseline_is_marked_and_not_counted_twice() -> None:
    every = runs([0.9] * 5)
    (series,) = history_of(every, every[2]).series
    assert [entry.baseline for entry in series.runs] == [False, False, True, False, False]
    assert "baseline: 2026-01-03 run-2" in told(every, baseline=every[2])
    more_seeds = replace(every[2], families={"cnn": family(0.97, seeds=5)})
    (series,) = history_of(every, more_seeds).series
    assert [entry.run for entry in series.runs] == [f"run-{at}" for at in range(5)]
    assert [round(reading.value, 1) for reading in only([series]).quality.readings] == [0.9, 0.9, 1.0, 0.9, 0.9]
    (series,) = history_of(every[1:], every[0]).series
    assert [entry.baseline for entry in series.runs] == [True, False, False, False, False]


def test_a_run_that_is_not_complete_is_left_out_and_named() -> None:
    every = runs([0.9] * 3)
    every[1] = replace(every[1], status="partial")
    found = history_of(every)
    assert [entry.run for entry in found.series[0].runs] == ["run-0", "run-2"]
    assert [entry.run for entry in found.unfinished] == ["run-1"]
    assert "left out, not complete: 1 run (run-1)" in told(every)


def test_damaged_and_newer_files_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = kept(tmp_path, runs([0.9] * 3))
    (folder / "run-0" / results.FILE).write_text('{"schema_version": 1')
    newer = json.loads((folder / "run-1" / results.FILE).read_text())
    (folder / "run-1" / results.FILE).write_text(json.dumps({**newer, "schema_version": 99}))
    (folder / BASELINE).write_bytes(b"\xff\x00")
    found = find(folder)
    assert [each.run for each in found.results] == ["run-2"]
    assert [Path(each.file).name for each in found.unreadable] == ["run-0", "run-1", BASELINE]
    out = io.StringIO()
    print_history(history(found), stream=out)
    assert "left out, not readable: 3 runs" in out.getvalue()
    assert "99" in out.getvalue()


def test_runs_are_found_below_other_folders_but_not_through_links(tmp_path: Path) -> None:
    folder = kept(tmp_path / "reports", runs([0.9])).parent / "reports"
    kept(folder / "nightly" / "january", [run(5, {"cnn": family(0.9)})])
    kept(tmp_path / "elsewhere", [run(6, {"cnn": family(0.9)})])
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "old").mkdir()
    (folder / "old" / "run.json").write_text("{}")
    found = find(folder)
    assert [each.run for each in found.results] == ["run-0", "run-5"]
    assert [Path(each.file).name for each in found.unreadable] == ["old"]


# -- how it is told


def test_six_families_fit_on_a_screen() -> None:
    names = ("cnn", "dummy", "mobilenet", "mobilenet_v2", "vgg16", "vgg19")
    every = [
        run(at, {name: family(share, 100 * at + i) for i, name in enumerate(names)}) for at, share in enumerate(STEP)
    ]
    assert len(told(every).splitlines()) <= 40


def test_a_family_that_did_not_change_says_what_would_have_been_seen() -> None:
    text = told(runs([0.9] * 12))
    assert "no change larger than noise (12 runs, smallest visible change about " in text
    assert "always the same" in text
    assert "too few runs to see a change (3 runs)" in told(runs([0.9] * 3, seeds=1))
    assert "the noise of seeds is unknown" in told(runs([0.9] * 3, seeds=1))


def test_runs_that_repeat_each_other_are_told() -> None:
    usual, other = (family(0.9, draw, seeds=2) for draw in (0, 1))
    assert "no change larger than noise (8 runs, 2 different, smallest" in told(
        [run(at, {"cnn": usual if at < 4 else other}) for at in range(8)]
    )


def test_a_drop_between_repeats_is_found_whoever_asks_and_however_often_they_ran() -> None:
    """The more often nothing happened, the surer is nothing, and the surer is not lost what happened once."""
    before, after, still = family(0.64, 0, seeds=2), family(0.54, 1, seeds=2), family(0.5, 2)
    p = set()
    for often in (2, 4, 9):
        every = [run(at, {"cnn": before if at < often else after, "dummy": still}) for at in range(2 * often)]
        for wanted in ((), ("cnn",)):
            (change,) = only(history_of(every, families=wanted).series).quality.changes
            assert change.at == often
            p.add(change.p)
    assert len(p) == 1


def test_a_change_is_corrected_for_all_families_whichever_are_shown() -> None:
    every = [run(at, {"cnn": family(STEP[at], at), "dummy": family(0.5, 100 + at)}) for at in range(16)]
    (alone,) = only(history_of(every, families=["cnn"]).series).quality.changes
    assert [alone] == list(only(history_of(every).series).quality.changes)
    assert [each.name for each in history_of(every, families=["cnn"]).series[0].families] == ["cnn"]


def test_what_could_not_have_been_seen_is_told_with_the_reason() -> None:
    readings = tuple(Reading(at, 0.5 + at / 100) for at in range(8))
    accuracy = metric_figure(metric("accuracy"))
    assert Track(readings[:3], different=3).in_short(accuracy) == "too few runs to see a change (3\u00a0runs)"
    assert Track(readings, different=2, comparisons=1).in_short(accuracy) == (
        "the noise is too large to see a change (8\u00a0runs, 2 different): more seeds or more runs would show one"
    )


def test_of_many_changes_the_latest_are_told() -> None:
    every = runs([0.9] * 16)
    for at in range(16):
        sized = replace(every[at].families["cnn"], parameters=1000 + at)
        every[at] = replace(every[at], families={"cnn": sized})
    text = told(every)
    assert "… 5 earlier changes, --all lists them" in text
    assert "1,014 → 1,015" in text
    assert "1,000 → 1,001" not in text


def test_names_from_outside_can_do_nothing() -> None:
    every = [
        replace(
            each,
            run=f"{HOSTILE}{at}",
            git_sha=HOSTILE,
            created_utc=f"2026-01-{at + 1:02}{HOSTILE}",
            split=replace(each.split, source=HOSTILE),
            families={HOSTILE: replace(each.families["cnn"], status=FamilyStatus.COMPLETE)},
            env=replace(each.env, cpu=HOSTILE),
        )
        for at, each in enumerate(runs(STEP))
    ]
    text = told(every)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]" in text
    assert not any(line.startswith("=x") for line in text.splitlines())


# -- the command


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in an empty folder; gives exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        status = parser.main(["history", *arguments])
        return status, *capsys.readouterr()

    return command


def test_the_command_tells_the_history_of_reports(bench: Any) -> None:
    Path("reports").mkdir()
    assert "python -m bench run" in bench()[1]
    kept(Path("reports"), [run(0, {"cnn": family(0.9), "dummy": family(0.5)})])
    status, out, err = bench("--family", "cnn")
    assert (status, err) == (0, "")
    assert out.startswith("drawn · 600 test pictures · 1 run · 2026-01-01\n")
    assert "dummy" not in out


def test_the_data_holds_every_series_and_change(bench: Any) -> None:
    every = runs(STEP)
    every[0] = replace(every[0], config={"epochs": 1})
    kept(Path("reports"), every)
    (Path("reports") / "old").mkdir()
    (Path("reports") / "old" / "run.json").write_text("{}")
    data = json.loads(bench("--json")[1])
    assert data["schema_version"] == 2
    assert data == json.loads(json.dumps(history(find(Path("reports"))).as_data()))
    assert [len(series["runs"]) for series in data["series"]] == [15, 1]
    (change,) = data["series"][0]["families"][0]["quality"]["changes"]
    assert data["series"][0]["runs"][change["at"]]["run"] == "run-8"
    assert [each["file"] for each in data["unreadable"]] == ["reports/old"]
    assert bench("--json", "--out", "made/history.json")[1] == "made/history.json\n"
    assert json.loads(Path("made/history.json").read_text()) == data


def test_a_folder_without_runs_is_named(bench: Any) -> None:
    Path("two").mkdir()
    assert "no complete run below two/; `python -m bench run` makes one" in bench("two")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "no such folder"),
        (("--family", "cmn"), "Did you mean cnn?"),
        (("--family", "x"), "a\\n::error::b, cnn"),
        (("--least", "much"), "percentage points, 0 to 100"),
        (("--least", "-1"), "percentage points, 0 to 100"),
        (("--least", "nan"), "percentage points, 0 to 100"),
        (("--out", "x.json"), "must end in .html for a page"),
        (("--json", "--out", "reports"), "is a folder"),
        (("--json", "--out", "reports/run-0/results.json"), "name another file"),
    ],
)
def test_a_mistake_is_one_line(bench: Any, arguments: tuple[str, ...], said: str) -> None:
    kept(Path("reports"), [run(0, {"cnn": family(0.9), "a\n::error::b": family(0.9)})])
    (Path("reports") / "run-0" / "run.json").write_text("{}")
    before = (Path("reports") / "run-0" / results.FILE).read_bytes()
    status, out, err = bench(*arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert (Path("reports") / "run-0" / results.FILE).read_bytes() == before
    assert said in err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_goes_away_ends_it_as_a_pipe_does(tmp_path: Path, options: list[str]) -> None:
    kept(tmp_path, runs([0.9] * 3))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "bench", "history", str(tmp_path), *options]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_it_loads_nothing_heavy(tmp_path: Path) -> None:
    kept(tmp_path, runs(STEP))
    heavy = ["tensorflow", "keras", "optuna", "pandas", "plotly", "sklearn", "scipy.stats", "jinja2"]
    code = f"""
import sys
from bench.cli import parser
status = parser.main(["history", {str(tmp_path)!r}])
print([name for name in {heavy!r} if name in sys.modules], status)
"""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert done.stdout.decode().splitlines()[-1] == "[] 0"
