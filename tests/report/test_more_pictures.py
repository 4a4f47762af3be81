"""The section on the worth of more pictures, and its sentence in the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.console import print_board
from bench.records import CurvePoint, Run, SampleCurve
from bench.report.sections import more_pictures

from .conftest import plain, section

NUMBERS = (105, 210, 420, 840, 1680, 3360)
FITTED = tuple(CurvePoint(n, 0.8 + 0.03 * k, 0.78 + 0.03 * k, 0.82 + 0.03 * k) for k, n in enumerate(NUMBERS))
CURVE = SampleCurve(
    "cnn", "cnn/optuna:tpe#1", 180, FITTED[:4], FITTED, more=840, gain=0.0061, gain_low=0.002, gain_high=0.013
)
UNTOLD = replace(CURVE, gain=0.003, gain_low=0.0001)
LEFT_OUT = SampleCurve("mobilenet_v2", "mobilenet_v2/optuna:tpe#1", reason="the time was over after 3 trainings")


@pytest.fixture
def curved(run: Run) -> Run:
    return replace(run, sample_curves=(CURVE, LEFT_OUT))


def test_the_page_says_what_more_pictures_are_worth(curved: Run) -> None:
    words = plain(section(curved, "more_pictures"))
    assert "840 more training pictures are worth about 0.6 points of accuracy (0.2 to 1.3)." in words
    assert "Not estimated: the time was over after 3 trainings." in words
    assert "3,360 – 95.0 % 93.0–97.0 %" in words


def test_the_chart_has_a_text_and_an_axis_up_to_four_times_the_pictures(curved: Run) -> None:
    markup = section(curved, "more_pictures")
    (chart,) = re.findall(r"<svg class=\"small-chart\".*?</svg>", markup, re.DOTALL)
    assert 'role="img"' in chart
    assert "840 more training pictures are worth" in chart.replace("\u00a0", " ").replace("\u202f", " ")
    assert all(
        f">{label}</text>" in chart.replace("\u00a0", " ").replace("\u202f", " ")
        for label in ("105", "840", "1.7 k", "3.4 k")
    )
    assert chart.count("<circle") == 4


def test_a_gain_that_could_be_nothing_is_none(run: Run) -> None:
    words = plain(section(replace(run, sample_curves=(UNTOLD,)), "more_pictures"))
    assert "No gain from 840 more training pictures can be told: 0.0 to 1.3 points." in words
    assert "worth about" not in words


def test_a_trial_that_stands_for_the_chosen_one_is_named(run: Run) -> None:
    words = plain(section(replace(run, sample_curves=(replace(CURVE, trial="cnn/optuna:tpe#0"),)), "more_pictures"))
    assert "Measured with optuna:tpe #0 (86.1 % in validation)" in words
    assert "Measured with" not in plain(section(replace(run, sample_curves=(CURVE,)), "more_pictures"))


def test_a_run_without_curves_has_no_such_section(run: Run) -> None:
    assert section(run, "more_pictures").strip() == ""


def test_the_terminal_has_a_sentence_for_a_curve_and_none_for_a_missing_one(curved: Run) -> None:
    stream = io.StringIO()
    print_board(curved, Path("report.html"), stream)
    lines = [line.replace("\u00a0", " ").replace("\u202f", " ") for line in stream.getvalue().splitlines()]
    assert [line for line in lines if "more training pictures" in line] == [
        "cnn: 840 more training pictures are worth about 0.6 points of accuracy (0.2 to 1.3)."
    ]
    assert not any("the time was over" in line for line in lines)


def test_a_curve_of_a_family_without_a_trial_is_not_drawn(run: Run) -> None:
    curve = replace(CURVE, family="vgg19", trial="vgg19/optuna:tpe#0")
    assert more_pictures.section(replace(run, sample_curves=(curve,))).summary == ""
