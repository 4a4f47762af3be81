"""The terminal: a table that fits, and text from outside that cannot take it over."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench import Budget, RunConfig, runner
from bench.cli import console, parser
from bench.records import FAIL, Cost, Failure, FailureKind, FamilyInfo, OverSeeds, Screening
from bench.testing import FakePool


@pytest.fixture
def run(tmp_path, space, monkeypatch, in_memory):
    monkeypatch.chdir(tmp_path)
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: 0.9)
    return runner.run(RunConfig(spaces=(space("a_family_of_some_length"),), images=24), pool=pool)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("width", "shown"), [(60, "95 % interval"), (80, "training time"), (200, "engine")])
def test_the_board_fits_the_terminal_and_cuts_nothing(run, monkeypatch, width, shown):
    monkeypatch.setitem(os.environ, "COLUMNS", str(width))
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    out = Terminal()
    console.print_board(run, run.path / "report.html", out)
    header, row = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()[:2]
    assert shown in header
    assert "…" not in header + row
    assert len(header.rstrip()) <= width
    assert row.startswith("1 a_family_of_some_length")


def test_with_several_seeds_the_board_has_their_mean_and_says_so(run, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    (study,) = run.studies
    chosen = run.best(study.family)
    scored = replace(chosen, test=replace(chosen.test, accuracy=0.95), over_seeds=OverSeeds(3, 0.9, 0.875, 0.925, 0.03))
    trials = tuple(scored if trial is chosen else trial for trial in study.trials)

    def shown(run):
        out = io.StringIO()
        console.print_board(run, run.path / "report.html", out)
        return out.getvalue()

    assert re.search(r"90\.0 % +87\.5 to 92\.5 ", shown(replace(run, studies=(replace(study, trials=trials),))))
    said = "test accuracy: mean of 3 seeds; the interval includes the noise of the test pictures and of the seeds"
    assert said in shown(replace(run, studies=(replace(study, trials=trials),)))
    assert "seeds" not in shown(run)


def test_text_from_outside_is_neither_markup_nor_control():
    assert console.printable("[red]x[/red]\x1b[2J\u202egnp") == "\\[red]x\\[/red]\\u202egnp"


COMMANDS = ("::add-mask::x", "##vso[task.complete]", "##[error]x", "\x1b]0;title\x07", "\x1b[2J")


@pytest.mark.parametrize("hostile", COMMANDS)
def test_no_name_is_a_command_to_the_terminal_or_to_the_ci(hostile, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for label in (hostile, f"{hostile}2"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(np.full((8, 8, 3), 9 * number + len(label), np.uint8)).save(
                tmp_path / "data" / label / f"{number}.png"
            )
        (tmp_path / "data" / label / f"{hostile}.jpg").write_bytes(b"")
    (tmp_path / "reports" / hostile).mkdir(parents=True)
    (tmp_path / "reports" / hostile / "run.json").write_text(json.dumps({"schema_version": 3, "status": hostile}))
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / f"{hostile}.py").write_text(f'"""{hostile}"""\ndef build(hp):\n')
    for command in (
        ["data", "data"],
        ["list"],
        ["history"],
        ["run", "--data", hostile],
        ["report", hostile],
        [hostile],
    ):
        parser.main(command)
    progress = console.ConsoleProgress()
    progress.warning(hostile)
    progress.warning(f"one\n{hostile}")
    for stream in capsys.readouterr():
        assert "\x1b" not in stream
        assert not re.search(r"##(vso)?\[|^\s*::", stream, re.MULTILINE)


def test_folds_are_told_while_they_train_and_on_the_board(tmp_path, space, monkeypatch, in_memory):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    monkeypatch.setitem(os.environ, "TERM", "xterm")
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: 0.8, epochs=3)
    told, live, out = [], Terminal(), io.StringIO()
    progress = console.ConsoleProgress(live)
    show = progress._show
    monkeypatch.setattr(progress, "_show", lambda text, done, total: (told.append(text), show(text, done, total)))
    config = RunConfig(spaces=(space("a"),), images=40, folds=5, epochs=10, budget=Budget(1))
    run = runner.run(config, progress, pool=pool)
    assert any("fold 2 of 5, epoch 3 of 10, 79.0" in text for text in told)
    assert any(text.startswith("training the best a on all folds and scoring it") for text in told)
    printed = live.getvalue().replace("\u00a0", " ").replace("\u202f", " ")
    assert "80.0 % ± 1.6, 1.0 s" in printed
    assert "plan: 1 trial: 1 proposal by optuna:tpe\n" in printed
    console.print_board(run, run.path / "report.html", out)
    assert "80.0 % ± 1.6" in out.getvalue()
    assert "validation: mean of 5 folds ± standard deviation" in out.getvalue()


def test_a_failed_trial_has_the_line_of_its_familys_file(run):
    failure = Failure(
        FailureKind.EXCEPTION, "n is 0", "", "ZeroDivisionError", path="/a/search_spaces/mine.py", line=12
    )
    told = io.StringIO()
    console.ConsoleProgress(told).trial_ended(replace(run.trials[0], state=FAIL, failure=failure), None)
    assert "FAIL search_spaces/mine.py:12: ZeroDivisionError: n is 0 " in told.getvalue()


def test_epochs_of_two_phases_may_be_more_than_the_cap_of_one(monkeypatch):
    told, progress = [], console.ConsoleProgress(Terminal())
    monkeypatch.setattr(progress, "_show", lambda text, done, total: told.append(text))
    progress.trial_began(1, "a", "optuna:tpe")
    for epoch in (10, 11):
        progress.epoch(1, epoch, 10, 0.9, 1, 0)
    assert "epoch 10 of 10, 90.0" in told[-2]
    assert "epoch 11, 90.0" in told[-1]


def test_the_estimates_and_their_quality_are_told(run):
    name, second, size = run.families[0].name, FamilyInfo("vgg19"), run.trials[0].input_size
    screenings = (
        Screening("vgg19", reason="random weights"),
        Screening(name, "Net", size, 0.85, 0.79, 0.89, 200),
        Screening(name, "Net", size + 1, 0.8, 0.74, 0.85, 200),
    )
    run = replace(run, families=(*run.families, second), screenings=screenings)
    told, out = io.StringIO(), io.StringIO()
    console.ConsoleProgress(told).screened(run)
    assert told.getvalue().splitlines() == [f"screened: {name} 85 % (79 to 89)", "not screened: vgg19 (random weights)"]
    console.print_board(run, run.path / "report.html", out)
    lines = out.getvalue().splitlines()
    assert "vgg19: no trial: the budget went to other families; not screened: random weights" in lines
    assert (
        "Screening: the best validation accuracy of the trials with the same input size is inside the interval of "
        f"0 of 1 estimate ({name} at {size} px: 90.0 % is above 85 % (79 to 89))."
    ) in lines


def test_the_board_ends_with_what_the_feature_cache_saved(run):
    def shown(saved_time_s):
        (study,) = run.studies
        cost = Cost(fit_time_s=10.0, train_time_s=60.0, features_time_s=50.0, saved_time_s=saved_time_s)
        out, trials = io.StringIO(), (replace(study.trials[0], cost=cost),)
        console.print_board(replace(run, studies=(replace(study, trials=trials),)), run.path / "report.html", out)
        return out.getvalue().replace("\u00a0", " ").replace("\u202f", " ")

    assert "The feature cache saved 50.0 s of the 1 min that all training takes from a cold start (83.3 %)." in shown(
        50
    )
    assert "feature cache" not in shown(0.0)


@pytest.mark.parametrize(("repeats", "end"), [(0, "pictures …"), (2, "pictures, and training it with 2 other seeds …")])
def test_trainings_with_other_seeds_are_told_of(space, tmp_path, monkeypatch, repeats, end, in_memory):
    monkeypatch.chdir(tmp_path)
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: 0.9)
    out = io.StringIO()
    config = RunConfig(spaces=(space("a"),), images=24, budget=Budget(1), repeats=repeats)
    runner.run(config, console.ConsoleProgress(out), pool=pool)
    assert f"scoring the best a on the test {end}" in out.getvalue().splitlines()
