"""The suite from Python and in a notebook: arguments, progress, a run's appearance."""

from __future__ import annotations

import builtins
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import bench
from bench import runner, workers
from bench.records import RANKED_COLUMNS
from bench.testing import FakePool


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def settings(tmp_path, space, monkeypatch, in_memory):
    """Settings of a run of two trials that trains nothing."""
    monkeypatch.chdir(tmp_path)
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: params["depth"] / 10)
    monkeypatch.setattr(workers, "start", lambda config: pool)
    return {"spaces": space("tiny"), "images": 24, "budget": 2, "out": "here"}


@pytest.fixture
def notebook(monkeypatch):
    """A notebook's cell: the texts that its live line shows."""
    shown: list[str] = []

    def update(data, raw):
        shown.append(data["text/plain"])

    def display(data, raw, display_id):
        update(data, raw)
        return SimpleNamespace(update=update)

    shell = type("ZMQInteractiveShell", (), {})()
    module = ModuleType("IPython.display")
    module.display = display
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_settings_need_no_configuration(settings, monkeypatch):
    configs = []
    monkeypatch.setattr(runner, "run", lambda config, progress: configs.append(config))
    bench.run("photos/", budget="30m")
    bench.run(data=Path("photos"), budget=20)
    bench.run(bench.RunConfig(data="photos"))
    bench.run()
    assert [(config.data, str(config.budget)) for config in configs] == [
        ("photos/", "30 min"),
        ("photos", "20 trials"),
        ("photos", "20 trials"),
        ("drawn", "20 trials"),
    ]
    with pytest.raises(bench.BenchError, match="takes a RunConfig or settings, not both; add epochs to the RunConfig"):
        bench.run(bench.RunConfig(), epochs=3)
    with pytest.raises(bench.BenchError, match=r"unknown setting 'engine'. Did you mean engines"):
        bench.run("photos/", engine="optuna:tpe")


def test_progress_is_shown_in_a_terminal_and_ends_with_the_page(settings, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    bench.run(**settings)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    assert any(line.startswith("trial   2 of 2") for line in lines)
    assert lines[-1] == "report: here/report.html"


@pytest.mark.parametrize(("progress", "shown"), [(None, False), (False, False), (True, True)])
def test_elsewhere_progress_is_shown_only_if_wanted(settings, capsys, progress, shown):
    bench.run(**settings, progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("report: here/report.html" in err) == shown


def test_a_notebook_has_a_live_line_and_the_page(settings, notebook, capsys):
    bench.run(**settings)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == "report: here/report.html"
    assert any(re.match("[█░]{20} trial 2 of 2 · tiny", line) for line in notebook)
    assert notebook[-1] == ""
    bench.run(**{**settings, "out": "silent"}, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_run_is_one_line_and_a_small_table(settings):
    run = bench.run(**settings)
    accuracy = f"{100 * run.ranking()[0].test_accuracy:.1f} %"
    assert repr(run) == f"<Run here: complete, families: 1, trials: 2, best tiny {accuracy}>"
    table = run._repr_html_()
    assert f"<td>1</td><td>tiny</td><td>{accuracy}</td>" in table
    assert '<a href="here/report.html">' in table
    hostile = replace(run, path=Path('<b>"'))
    assert "<b>" not in hostile._repr_html_()


def test_the_leaderboard_has_rank_tie_metrics_and_configuration(settings):
    run = bench.run(**settings)
    board = run.leaderboard()
    assert list(board.columns) == RANKED_COLUMNS
    (row,) = board.to_dict("records")
    assert (row["rank"], row["tied"]) == (1, False)
    assert row["test_balanced_accuracy"] == run.ranking()[0].test.balanced_accuracy
    assert row["parameters"] == 10
    assert set(row["configuration"]) == {"depth"}


@pytest.mark.storage
def test_a_run_is_resumed_with_a_larger_budget(settings):
    run = bench.run(**settings)
    with pytest.raises(bench.BenchError, match="is complete; --budget names a larger total"):
        bench.resume(run.path)
    assert len(bench.resume("here", budget="3", progress=False).trials) == 3
