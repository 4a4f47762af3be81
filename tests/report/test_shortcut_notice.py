"""What is right without a look at the pictures, and what the page says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from bench import stats
from bench.records import FamilyInfo, FeatureKind, Run, Shortcuts, from_data, to_data
from bench.report.sections import doubtful_labels, leaderboard
from bench.report.sections.notices import notices
from bench.report.sections.recommendation import efficient
from bench.report.sections.search_history import best_so_far
from bench.report.sections.shortcut_notice import shortcut
from bench.report.sections.verdict import verdict

from .conftest import Right, only, plain, section

FILE, COMPRESSION, LIGHT, ALL = FeatureKind


def answers(correct: Mapping[FeatureKind, int], n: int = 180, constant: int = 90) -> Shortcuts:
    """The first pictures are right."""
    counts = {kind: correct.get(kind, constant) for kind in FeatureKind}
    return Shortcuts(n, constant, {kind: np.packbits(np.arange(n) < count).tobytes() for kind, count in counts.items()})


def said(run: Run, shortcuts: Shortcuts | None) -> list[tuple[str, str, str]]:
    plainly = str.maketrans("\u00a0\u202f", "  ")
    found = notices(replace(run, shortcuts=shortcuts))
    return [(notice.kind, notice.title, notice.text.translate(plainly)) for notice in found]


def test_the_simplest_kind_of_metadata_that_suffices_is_named_with_the_figures_and_the_winner(
    compared_run: Run,
) -> None:
    """The first 168 are right from the file, of the 12 others mobilenet_v2 has all right."""
    run = only(compared_run, "mobilenet_v2", "dummy")
    shortcuts = answers({FILE: 168, LIGHT: 100, ALL: 172})
    ((kind, title, text),) = [notice for notice in said(run, shortcuts) if "hortcut" in notice[1]]
    assert (kind, title) == ("warning", "Shortcut in the data")
    assert text == (
        "From file format and size alone 93.3 % of 180 test pictures are right (the best constant answer: 50.0 %): "
        "the models may have learnt that. "
        "Of the 12 pictures where it is wrong, mobilenet_v2 · random weights has 12 right (100.0 %)."
    )
    recommended = plain(section(replace(run, shortcuts=shortcuts), "recommendation"))
    assert recommended.index("Shortcut in the data. From file format and size") < recommended.index("Without limits")
    assert "Shortcut" not in plain(section(run, "recommendation"))


def test_nothing_tells_a_model_from_a_shortcut_that_is_never_wrong(compared_run: Run) -> None:
    found = shortcut(replace(compared_run, shortcuts=answers({FILE: 180, ALL: 180})))
    assert str(found).endswith("It is wrong on none, so nothing shows that mobilenet_v2 · random weights has learnt "
                               "anything else.")  # fmt: skip


def test_before_a_model_is_scored_the_shortcut_stands_alone(empty_run: Run) -> None:
    assert said(empty_run, answers({COMPRESSION: 150, ALL: 150}))[1] == (
        "warning",
        "Shortcut in the data",
        "From JPEG compression and camera alone 83.3 % of 180 test pictures are right (the best constant answer: "
        "50.0 %): the models may have learnt that.",
    )


def test_light_alone_is_a_note_because_it_may_be_what_the_pictures_show(empty_run: Run) -> None:
    kind, title, text = said(empty_run, answers({LIGHT: 140, ALL: 138}))[1]
    assert (kind, title) == ("note", "Light tells the classes apart")
    assert text.startswith("From brightness, sharpness and border colour alone 77.8 %")


def test_kinds_that_only_together_suffice_are_named_together(empty_run: Run) -> None:
    found = shortcut(replace(empty_run, shortcuts=answers({FILE: 125, LIGHT: 125, ALL: 178})))
    assert found is not None
    assert (found.kind, found.correct, found.is_warning) == (ALL, 178, True)


@pytest.mark.parametrize(
    "shortcuts",
    [
        None,
        Shortcuts(),
        answers({}),
        answers({FILE: 103, ALL: 103}),  # 57 %
        answers({FILE: 12, ALL: 12}, n=12, constant=6),  # few pictures
        answers({FILE: 130, ALL: 133}),  # 74 %, which may be 65 % by chance
        answers({FILE: 2600, ALL: 2600}, n=4000, constant=2000),  # more than chance, but as in photographs
        answers({FILE: 985, ALL: 985}, n=1000, constant=980),  # classes of very different size
    ],
)
def test_chance_few_pictures_and_small_gains_are_no_shortcut(shortcuts: Shortcuts | None, empty_run: Run) -> None:
    assert shortcut(replace(empty_run, shortcuts=shortcuts)) is None


def test_the_answers_survive_the_record() -> None:
    shortcuts = answers({FILE: 12, ALL: 30}, n=33, constant=20)
    assert from_data(Shortcuts, to_data(shortcuts)) == shortcuts


@pytest.mark.parametrize(("correct", "n", "chance"), [(0, 9, 0.5), (9, 9, 0.5), (70, 100, 0.62), (1, 1, 1.0)])
def test_the_p_value_is_the_upper_tail_of_the_binomial(correct: int, n: int, chance: float) -> None:
    assert stats.above_chance(correct, n, chance) == pytest.approx(binom.sf(correct - 1, n, chance))


# -- baselines


def with_baselines(run: Run, *baselines: str) -> Run:
    return replace(run, families=tuple(replace(family, learns=family.name not in baselines) for family in run.families))


def test_a_baseline_never_leads_is_never_tied_and_is_not_recommended(
    run: Run, predicted: Callable[[Run, Right], Run]
) -> None:
    """The one called cnn has all pictures right; of the others one has some wrong and one half."""
    picture = np.arange(180)
    right = {"cnn": picture >= 0, "mobilenet_v2": picture >= 12, "dummy": picture < 90}
    best = with_baselines(predicted(run, right), "cnn", "dummy")
    assert [trial.family for trial in best.ranking()] == ["mobilenet_v2", "cnn", "dummy"]
    answer = verdict(best)
    assert answer.headline.startswith("Ship mobilenet_v2 · random weights: 93.3\u202f% of the test pictures are right")
    assert answer.headline.endswith("the only family with a result.")
    rows = {row.family.name: (row.rank, row.is_baseline) for row in leaderboard.board(best)}
    assert [rows[name] for name in ("mobilenet_v2", "cnn", "chance")] == [(1, False), (None, True), (None, False)]
    assert {trial.family for trial in efficient(best)} == {"mobilenet_v2"}
    assert "cnn baseline" in plain(section(best, "leaderboard"))


def test_a_family_wins_against_baselines_that_it_beats(compared_run: Run) -> None:
    best = with_baselines(only(compared_run, "cnn", "dummy"), "dummy")
    assert verdict(best).headline.startswith("Ship cnn: 91.1\u202f% of the test pictures")


def test_a_baseline_alone_is_no_result_of_a_model(compared_run: Run) -> None:
    alone = only(compared_run, "dummy")
    assert verdict(alone).title.startswith("No model is better than always answering")  # it is all that was asked for
    beside = replace(alone, families=(FamilyInfo("dummy", learns=False), FamilyInfo("cnn")))
    assert verdict(beside).headline == "No model has a result, only dummy."


def test_pictures_that_all_models_misclassify_need_not_be_wrong_in_a_baseline(compared_run: Run) -> None:
    """Pictures 8 to 11 are wrong in mobilenet_v2 and cnn, and right in dummy."""
    shared = doubtful_labels.section(with_baselines(compared_run, "dummy"))
    assert (shared.families, shared.doubted + shared.shared) == (2, 4)


def test_the_best_so_far_is_that_of_families_that_learn(run: Run) -> None:
    steps = best_so_far(with_baselines(run, "mobilenet_v2"))
    values = [trial.value for trial in run.trials if trial.family != "mobilenet_v2" and trial.value is not None]
    assert max(step.best for of_engine in steps.values() for step in of_engine if step.best is not None) == max(values)


def test_pictures_of_a_group_count_as_one(compared_run: Run) -> None:
    """Nine of ten pictures are right: enough for 180 pictures, too few for 12 patients."""
    shortcuts = answers({FILE: 162, ALL: 162})
    assert shortcut(replace(compared_run, shortcuts=shortcuts)) is not None
    grouped = replace(compared_run.split, groups={"train": 40, "validation": 12, "test": 12})
    assert shortcut(replace(compared_run, shortcuts=shortcuts, split=grouped)) is None
