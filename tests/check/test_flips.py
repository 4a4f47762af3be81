"""Pictures that were right and are wrong, and classes whose recall changed: found, sorted, limited, and told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from markdown_it import MarkdownIt

from bench import stats
from bench.check import outputs
from bench.check.flips import LISTED, recall_changes, scored_pictures
from bench.check.flips import flips as flips_of
from bench.check.judge import judge
from bench.cli import parser
from bench.runs import predictions
from bench.runs.results import FILE, ScoredPicture, ids_sha256, write

from .made import again, family, results

N = 200
PICTURES = [
    ScoredPicture(f"{place:064x}", f"{('cat', 'dog')[place % 2]}/{place}.jpg", ("cat", "dog")[place % 2], "")
    for place in range(N)
]
"""Cats at even places, dogs at odd ones."""


def scored(wrong, **more):
    """A family of one seed that has the pictures at these places wrong."""
    right = np.ones(N, np.bool_)
    right[list(wrong)] = False
    return family([0], n=N, correct=right[np.newaxis], **more)


def run_folder(path, wrong, sure):
    """A run folder with a manifest, and predictions of cnn: those at `wrong` are wrong, with these probabilities."""
    items = [
        {"sha256": each.sha256, "id": each.id, "label": place % 2, "part": "test"}
        for place, each in enumerate(PICTURES)
    ]
    path.mkdir()
    (path / "split.json").write_text(json.dumps({"classes": ["cat", "dog"], "items": items[::-1]}))
    labels = np.arange(N) % 2
    of_truth = np.full(N, 0.9)
    of_truth[list(wrong)] = 1 - np.array(sure)
    probabilities = np.where(
        np.arange(2) == labels[:, np.newaxis], of_truth[:, np.newaxis], 1 - of_truth[:, np.newaxis]
    )
    file = predictions.path(path, "cnn")
    file.parent.mkdir()
    np.savez(file, sha256=[each.sha256 for each in PICTURES], labels=labels, probabilities=probabilities)
    return path


def flips(before, after, folders):
    pictures = scored_pictures(before, after, folders)
    return flips_of(before, after, folders, pictures, recall_changes(before, after, pictures))


BEFORE = results({"cnn": scored([1, 3])}, n=N, split={"test_ids_sha256": ids_sha256(PICTURES)})
LOST = range(0, 60, 2)
AFTER = again(BEFORE, cnn=scored([*LOST, 3]))


@pytest.fixture
def after(tmp_path):
    """The folder of the later run: 30 cats are wrong, the later ones with more confidence, and a dog as before."""
    return run_folder(tmp_path / "after", [*LOST, 3], [*np.linspace(0.6, 0.99, 30), 0.7])


def test_lost_pictures_come_most_confident_first_and_the_rest_is_counted(after, tmp_path):
    found = flips(BEFORE, AFTER, (tmp_path, after))["cnn"]
    assert (found.lost_count, found.gained_count, len(found.lost)) == (30, 1, LISTED)
    assert [flip.id for flip in found.lost[:3]] == ["cat/58.jpg", "cat/56.jpg", "cat/54.jpg"]
    assert found.lost[0].words == "cat, taken for dog (99.0 %)"
    assert [(flip.id, flip.words) for flip in found.gained] == [("dog/1.jpg", "dog")]  # a baseline has no predictions
    assert found.words == (
        "30 pictures were right and are wrong now, 1 the other way (cat/58.jpg, cat/56.jpg, cat/54.jpg and 27 more); "
        "recall of cat 100.0 % to 70.0 % (p < 0.001), by these two models; another seed may change as much"
    )


def test_recalls_are_tested_in_pairs_and_corrected_over_the_classes(after, tmp_path):
    cat, dog = flips(BEFORE, AFTER, (tmp_path, after))["cnn"].classes
    assert (cat.label, cat.n, cat.before, cat.after) == ("cat", 100, 100, 70)
    assert cat.p == pytest.approx(2 * stats.mcnemar(30, 0))
    assert (dog.label, dog.before, dog.after, dog.p) == ("dog", 98, 99, 1.0)


def test_with_several_seeds_a_recall_must_change_by_more_than_their_noise(after, tmp_path):
    """The first seeds differ in 30 cats; the second ones have it the other way round, or agree with the first."""
    good, bad = BEFORE.families["cnn"].correct, AFTER.families["cnn"].correct

    def cat(*rights):
        old, new = (family([0, 0], n=N, correct=np.concatenate(right)) for right in rights)
        before = replace(BEFORE, families={"cnn": old})
        found = flips(before, again(before, cnn=new), (tmp_path, after))["cnn"]
        assert found.calibrated
        return found.classes[0]

    assert cat((good, bad), (bad, good)).p == 1
    assert cat((good, good), (bad, bad)).p < 0.001


def test_with_groups_a_group_counts_once(after, tmp_path):
    """All 30 lost cats are of one patient: nothing can be said."""
    numbers = np.unique([-1 if place in LOST else place for place in range(N)], return_inverse=True)[1]
    grouped = replace(BEFORE, split=replace(BEFORE.split, groups=tuple(numbers.tolist())))
    found = flips(grouped, AFTER, (tmp_path, after))["cnn"]
    assert found.lost_count == 30
    assert {change.label: change.p for change in found.classes} == {"cat": 1.0, "dog": 1.0}


def test_names_are_never_those_of_other_pictures(after, tmp_path):
    other = replace(BEFORE, split=replace(BEFORE.split, test_ids_sha256="0" * 64))
    assert flips(other, replace(AFTER, split=other.split), (tmp_path, after)) == {}
    assert flips(BEFORE, AFTER, (tmp_path, tmp_path)) == {}


def test_check_tells_them_in_every_output(after, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "base.json", BEFORE)
    write(after / FILE, AFTER)
    assert parser.main(["check", "after", "--baseline", "base.json", "--markdown", "check.md"]) == 0
    assert "pictures of cnn: 30 pictures were right and are wrong now, 1 the other way" in capsys.readouterr().out
    page = (tmp_path / "check.md").read_text()
    assert "- `cat/58.jpg`: cat, taken for dog (99.0 %)\n" in page
    assert "- and 6 more\n" in page
    assert "- cat 100.0 % to 70.0 % (p &#60; 0.001)\n" in page
    parser.main(["check", "after", "--baseline", "base.json", "--json"])
    data = json.loads(capsys.readouterr().out)["flips"]["cnn"]
    assert (data["lost_count"], data["lost"][0]["id"], data["classes"][0]["after"]) == (30, "cat/58.jpg", 70)


def test_hostile_names_stay_names(after, tmp_path):
    hostile = "</details><img src=x>`@team`"
    judgement = judge(BEFORE, AFTER)
    (found,) = flips(BEFORE, AFTER, (tmp_path, after)).values()
    lost = [replace(found.lost[0], id=hostile, label=hostile, predicted=hostile)]
    changed = [replace(found.classes[0], label=hostile)]
    judgement = replace(judgement, flips={hostile: replace(found, lost=lost, classes=changed)})
    html = MarkdownIt("commonmark").render(outputs.markdown(judgement))
    assert "<img" not in html
    assert html.count("</details>") == 2
