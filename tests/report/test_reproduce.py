"""How to repeat a run: commands, raw data, the files beside the page; what failed; where Plotly comes from."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import report
from bench.records import FAIL, Ending, Failure, FailureKind, Run, Study, Trial
from bench.report import assets
from bench.report.sections import failures, reproduce

from .conftest import plain, section


def decoded(run: Run) -> list[dict[str, Any]]:
    """What the page's script reads of the packed records."""
    data = json.loads(gzip.decompress(base64.b64decode(reproduce.section(run).trials)))
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def page(run: Run, folder: Path) -> str:
    report.render(run, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


# -- raw data


def test_the_raw_data_is_every_trial_as_recorded(run: Run) -> None:
    trials = decoded(run)
    assert [(each["family"], each["engine"], each["trial"]) for each in trials] == [
        (trial.family, trial.engine, trial.number) for trial in run.trials
    ]
    assert [each["params"] for each in trials] == [dict(trial.params) for trial in run.trials]
    best = next(each for each in trials if each["test_accuracy"] == 0.9333)
    assert (best["family"], best["trial"], best["val_accuracy"]) == ("mobilenet_v2", 1, 0.9389)
    assert (best["train_time_s"], best["parameters"], best["latency_ms"]) == (95.3, 2_422_000, 8.4733)
    assert [each["failure"] for each in trials if each["state"] == FAIL] == ["ResourceExhaustedError", "TIMEOUT"]
    assert [each["duplicate_of"] for each in trials if each["duplicate_of"]] == ["cnn/optuna:tpe#0"] * 2


def test_a_moment_late_in_a_long_run_is_not_rounded_away(run: Run) -> None:
    late = replace(run.trials[0], started_s=123456.78, finished_s=123457.91)
    (row,) = decoded(replace(run, studies=(Study("dummy", "optuna:tpe", (late,)),)))
    assert (row["started_s"], row["finished_s"]) == (123456.8, 123457.9)


def test_what_is_no_number_is_empty(run: Run) -> None:
    odd = replace(run.trials[0], value=float("nan"), params={"rate": float("inf")})
    (row,) = decoded(replace(run, studies=(Study("dummy", "optuna:tpe", (odd,)),)))
    assert (row["val_accuracy"], row["params"]) == (None, {"rate": None})


def test_the_raw_data_of_thousands_of_trials_is_small(run: Run) -> None:
    draw = random.Random(0)
    cost = run.trials[3].cost
    assert cost is not None

    def trial(n: int) -> Trial:
        measured = replace(
            cost,
            train_time_s=10 ** draw.uniform(0, 2.5),
            latency_ms=20 * draw.random(),
            parameters=draw.randint(10**5, 10**7),
            trainable_parameters=draw.randint(10**4, 10**6),
            macs=draw.randint(10**8, 10**10),
            peak_rss_mb=draw.uniform(900, 4000),
            saved_time_s=30 * draw.random(),
        )
        params = {
            "input_size": draw.choice((96, 128, 224)),
            "learning_rate": 10 ** draw.uniform(-5, -2),
            "dropout": draw.uniform(0, 0.6),
            "head": draw.choice(("pooling", "dense")),
            "batch_normalisation": draw.random() < 0.5,
            "filters": draw.choice((16, 32, 64)),
            "optimizer": draw.choice(("adam", "sgd")),
        }
        figures = {"params": params, "value": draw.random(), "cost": measured, "test": None, "weights": "imagenet"}
        return replace(run.trials[3], number=n, order=n, started_s=60.1 * n, finished_s=60.1 * n + 57.7, **figures)

    studies = (Study("cnn", "optuna:tpe", tuple(map(trial, range(5000)))),)
    assert len(reproduce.section(replace(run, studies=studies)).trials) < 500_000


def test_hostile_texts_and_the_home_are_cleaned_in_the_raw_data(hostile_run: Run) -> None:
    noted = tuple(replace(trial, ending=Ending.RECORD, duplicate_of="/home/alice/y") for trial in hostile_run.trials)
    study = hostile_run.studies[0]
    written = json.dumps(decoded(replace(hostile_run, studies=(replace(study, trials=noted),))), ensure_ascii=False)
    assert "alice" not in written
    assert not set(written) & {"\u202e", "\x1b"}


# -- commands and files


def test_the_commands_name_the_run_and_nothing_of_the_machine(run: Run, tmp_path: Path) -> None:
    text = plain(page(run, tmp_path))
    assert "The run python -m bench run --budget 12 --engine optuna:tpe,keras-tuner:bayesian" in text
    assert "python -m bench run --split-file reports/20261121T001800-drawn/split.json" in text
    assert "python -m bench report reports/20261121T001800-drawn" in text
    elsewhere = reproduce.commands(replace(run, path=Path("/data/alice/my run"), command=""))
    assert [command for _, command in elsewhere] == [
        "python -m bench run --split-file 'my run/split.json'",
        "python -m bench report 'my run'",
    ]


def test_nothing_on_the_page_is_a_path_of_the_home(run: Run, tmp_path: Path) -> None:
    home = "/home/wilhelmina/photos"
    failure = Failure(FailureKind.EXCEPTION, f"cannot read {home}/1.jpg", f'File "{home}/x.py"', error="ValueError")
    trials = tuple(replace(trial, params={home: home}) for trial in run.studies[1].trials)
    failed = replace(trials[0], number=9, state=FAIL, failure=failure)
    studies = (replace(run.studies[1], trials=(*trials, failed)),)
    config = replace(run.config, data=home, out=f"{home}/run", split_file="/root/split.json")
    environment = {**run.environment, "cpu": home}
    told = replace(run, studies=studies, config=config, environment=environment, path=Path(home), notes=(home,))
    told = replace(told, command=f"python -m bench run --data {home}", split=replace(run.split, source=home))
    written = page(told, tmp_path)
    assert "wilhelmina" not in written
    assert "/root" not in written


def test_a_run_without_a_trial_has_no_raw_data(empty_run: Run, tmp_path: Path) -> None:
    assert not reproduce.section(empty_run).trials
    assert 'id="raw"' not in page(empty_run, tmp_path)


# -- failures


def failing(run: Run, *failed: tuple[str, str, str]) -> Run:
    trials = tuple(
        replace(
            run.trials[0],
            number=n,
            state=FAIL,
            started_s=float(n),
            failure=Failure(FailureKind.EXCEPTION, *failure[1:], error=failure[0]),
        )
        for n, failure in enumerate(failed)
    )
    return replace(run, studies=(Study("dummy", "optuna:tpe", trials),))


def test_trials_that_failed_alike_stand_together_most_frequent_first(run: Run) -> None:
    told = failing(run, ("TIMEOUT", "late", ""), *[("OOM", "2 GB", "")] * 20, ("OOM", "2 GB", "the end"))
    first, second = failures.groups(told)
    assert (first.name, len(first.trials), first.traceback) == ("OOM", 21, "the end")
    assert (second.name, len(second.trials)) == ("TIMEOUT", 1)
    text = plain(section(told, "failures"))
    assert "22 trials failed." in text
    assert "OOM dummy 21 trials 2 GB dummy optuna:tpe #1, #2, #3" in text
    assert "#12 and 9 more the end" in text
    assert "TIMEOUT dummy optuna:tpe #0 late There is no traceback." in text


def test_a_failure_begins_with_its_place_in_the_familys_file(run: Run) -> None:
    traceback = 'Traceback (most recent call last):\n  File "/a/search_spaces/mine.py", line 12, in build\n    1 / n\n'
    failure = Failure(
        FailureKind.EXCEPTION, "n is 0", traceback, "ZeroDivisionError", path="/a/search_spaces/mine.py", line=12
    )
    broken = replace(run.trials[0], state=FAIL, failure=failure)
    elsewhere = replace(broken, number=1, failure=replace(failure, line=13))
    both = replace(run, studies=(Study("dummy", "optuna:tpe", (broken, elsewhere)),))
    assert [group.reason for group in failures.groups(both)] == [
        "search_spaces/mine.py:12 in build: ZeroDivisionError: n is 0",
        "search_spaces/mine.py:13: ZeroDivisionError: n is 0",
    ]
    markup = section(both, "failures")
    assert "<mark>search_spaces/mine.py:12 in build: ZeroDivisionError: n is 0</mark>\nTraceback" in markup
    assert markup.count("open>") == 2  # few are unfolded
    assert section(failing(run, *[("OOM", f"{n} GB", "") for n in range(4)]), "failures").count("open>") == 0
    assert (
        failures.section(both).summary == "2\u00a0trials: search_spaces/mine.py:12 in build: ZeroDivisionError: n is 0"
    )


def test_a_run_of_which_every_model_failed_is_told_from_one_with_some_results(run: Run) -> None:
    told = failing(run, ("OOM", "2 GB", ""))
    assert failures.section(told).all_failed
    baseline = Study("cnn", "optuna:tpe", (run.trials[2],))
    assert not failures.section(replace(told, studies=(*told.studies, baseline))).all_failed
    ignorant = tuple(replace(family, learns=family.name != "cnn") for family in run.families)
    assert failures.section(replace(told, studies=(*told.studies, baseline), families=ignorant)).all_failed
    assert not failures.section(replace(run, studies=())).all_failed


def test_thousands_of_failures_do_not_fill_the_page(run: Run) -> None:
    told = failing(run, *[("ValueError", f"picture {n} is broken", "x" * 100_000) for n in range(300)])
    assert all(len(group.traceback) <= failures.TRACEBACK_CHARACTERS + 2 for group in failures.groups(told))
    markup = section(told, "failures")
    assert markup.count('<details class="failure"') == 40
    assert "300 trials failed." in plain(markup)
    assert "260 more failures with other, less frequent messages are only in the records" in plain(markup)


# -- Plotly


def policy(written: str) -> str:
    return html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', written)[0])


def test_plotly_beside_the_page_is_written_once_and_allowed(run: Run, tmp_path: Path) -> None:
    target, script = tmp_path / "report.html", tmp_path / "plotly.min.js"
    report.render(run, target, assets.DIRECTORY)
    written = target.read_text(encoding="utf-8")
    assert re.findall(r'<script src="([^"]*)"', written) == ["plotly.min.js"]
    assert "'self'" in policy(written)
    assert len(written) < 1_000_000 < script.stat().st_size
    before = script.stat().st_mtime_ns
    report.render(run, target, assets.DIRECTORY)
    assert script.stat().st_mtime_ns == before
    script.write_text("of another version")
    report.render(run, target, assets.DIRECTORY)
    assert script.stat().st_size > 1_000_000


def test_plotly_from_its_address_is_held_against_its_hash(run: Run, tmp_path: Path) -> None:
    report.render(replace(run, config=replace(run.config, plotlyjs="cdn")), tmp_path / "report.html")
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    ((address, integrity),) = re.findall(r'<script src="([^"]*)" integrity="([^"]*)" crossorigin="anonymous">', written)
    assert re.fullmatch(r"https://cdn\.plot\.ly/plotly-\d+\.\d+\.\d+\.min\.js", address)
    digest = hashlib.sha256(assets.plotly_text().encode()).digest()
    assert integrity == f"sha256-{base64.b64encode(digest).decode()}"
    assert address in policy(written)
    assert "'self'" not in policy(written)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_option_comes_before_what_the_run_was_told(run: Run, tmp_path: Path) -> None:
    report.render(replace(run, config=replace(run.config, plotlyjs="cdn")), tmp_path / "report.html", assets.INLINE)
    assert "<script src=" not in (tmp_path / "report.html").read_text(encoding="utf-8")
