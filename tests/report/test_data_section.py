"""What the audit found, as the page and the terminal show it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from bench import report
from bench.cli.console import ConsoleProgress
from bench.cli.data import print_inventory
from bench.config import RunConfig
from bench.records import Change, LeftOut, LeftOutKind, PictureSizes, Run, SplitInfo
from bench.report import page
from bench.report.inventory import Inventory
from bench.report.sections.notices import notices
from bench.runs.thumbnails import Thumbnail

from .conftest import HOSTILE, LONG
from .saved import save_thumbnails
from .test_page import Page

CLEAN = "Nothing is left out: every file is a picture that decodes, and no two are the same or nearly the same."


def section(run: Run, folder: Path) -> str:
    report.render(run, folder / "report.html")
    source = (folder / "report.html").read_text(encoding="utf-8")
    begin = source.index('<section id="data"')
    return source[begin : source.index("</section>", begin) + len("</section>")]


def words(run: Run, folder: Path) -> str:
    return Page(section(run, folder)).words


def many_classes(split: SplitInfo, n: int = 100, folds: int = 0) -> SplitInfo:
    names = tuple(f"class {number:03d}" for number in range(n))
    counts = {part: {name: least + i for i, name in enumerate(names)} for part, least in (("train", 10), ("test", 5))}
    return replace(split, classes=names, counts=counts, folds=folds)


class TestPage:
    def test_a_clean_set_is_a_table_and_a_sentence(self, run: Run, tmp_path: Path) -> None:
        sizes = PictureSizes((64, 64), (64, 64), (64, 64))
        shown = words(replace(run, split=replace(run.split, sizes=sizes)), tmp_path)
        assert "drawn : 2 classes, 1,200 pictures, 64 × 64 pixels. Always answering cat is right" in shown
        assert "cat 420 90 90 600 50.0 %" in shown
        assert shown.endswith(CLEAN)

    def test_what_nobody_looked_for_is_not_claimed(self, run: Run, tmp_path: Path) -> None:
        assert "nearly the same" not in words(run, tmp_path)

    def test_every_picture_left_out_is_there_with_its_reason(self, messy_run: Run, tmp_path: Path) -> None:
        shown = words(messy_run, tmp_path)
        assert "Left out: 67 pictures" in shown
        assert "empty file (0 bytes) 2 pictures train/cat/666.jpg train/dog/11702.jpg" in shown
        assert "train/owl/bomb.png 30000 x 30000 pixels, limit 100 megapixels" in shown
        assert "the same content under several labels 1 picture train/owl/twice.png cat and owl" in shown
        assert all(f"train/owl/{number}.jpg broken data stream" in shown for number in range(60))
        assert LONG in shown

    def test_what_was_ignored_put_right_and_alike_is_counted(self, messy_run: Run, tmp_path: Path) -> None:
        shown = words(messy_run, tmp_path)
        assert "Ignored: 15 other files hidden or system file 12 not a picture 3" in shown
        assert "Corrected while decoding grey 41 turned as EXIF says 7 CMYK 1" in shown
        assert "Nearly the same: 2 groups Every group is in one part" in shown
        assert "train/cat/7.jpg , test/cat/9.jpg" in shown

    def test_near_duplicates_of_several_labels_stand_first_and_are_marked(self, run: Run, tmp_path: Path) -> None:
        groups = (("cat/1.jpg", "cat/2.jpg"), ("cat/3.jpg", "dog/4.jpg"))
        split = replace(run.split, alike=groups, contradicting=groups[1:])
        shown = words(replace(run, split=split), tmp_path)
        assert "cat/3.jpg , dog/4.jpg several labels cat/1.jpg , cat/2.jpg" in shown
        (warning,) = Inventory(split, run.config).warnings
        assert warning.endswith("group of near-duplicates carries several labels, one of which is likely to be wrong.")
        (notice,) = [each for each in notices(replace(run, split=split)) if warning in each.text]
        assert notice.title == "Labels in doubt"  # nothing is left out

    def test_what_was_guessed_is_said_on_the_page_and_in_both_terminals(self, run: Run, tmp_path: Path) -> None:
        guess = "labels from the column 'label', not 'class'; --label-column names another"
        split = replace(run.split, guesses=(guess,))
        assert f"Layout {guess}" in words(replace(run, split=split), tmp_path)
        assert f"note: {guess}" in TestTerminal().listed(split)
        assert f"  note: {guess}\n" in TestTerminal().started(split)

    def test_changes_between_near_duplicates_are_named(self, run: Run, tmp_path: Path) -> None:
        groups = (("cat/1.jpg", "cat/2.jpg"), ("cat/3.jpg", "dog/4.jpg"))
        split = replace(run.split, alike=groups, changes=((), (Change.MIRRORED, Change.CROPPED)))
        assert "cat/3.jpg , dog/4.jpg mirrored, cropped" in words(replace(run, split=split), tmp_path)
        assert Inventory(split, run.config).groups.endswith("kept together (mirrored 1, cropped 1)")

    def test_the_balance_is_told(self, messy_run: Run, tmp_path: Path) -> None:
        told = "Unbalanced: cat has 4.9 times as many pictures as owl; always answering cat is right for 45.4 %"
        assert told in words(messy_run, tmp_path)

    def test_hostile_names_stay_on_their_line_as_text(self, messy_run: Run, tmp_path: Path) -> None:
        source = section(messy_run, tmp_path)
        assert {tag for tag, _ in Page(source).elements} & {"img", "b"} == set()
        assert "train/dog/<img src=x onerror=alert(1)>\"'&</script><b>\\u2028\\u202e\\ncat\\ud800=1+1.jpg" in words(
            messy_run, tmp_path
        )
        assert not set(source) & {"\u2028", "\u202e", "\x1b"}

    def test_many_classes_are_folded(self, run: Run, tmp_path: Path) -> None:
        shown = words(replace(run, split=many_classes(run.split, folds=5)), tmp_path)
        assert "The 100 classes, 15 to 213 pictures each" in shown
        assert "Class In 5 folds Test All Share class 099 109 104 213" in shown
        assert "validation" not in shown.lower()

    def test_a_long_list_ends_and_says_where_the_rest_is(self, run: Run, tmp_path: Path) -> None:
        lost = tuple(LeftOut(f"cat/{number:05d}.jpg", LeftOutKind.EMPTY) for number in range(20_000))
        before = len(section(run, tmp_path))
        source = section(replace(run, split=replace(run.split, quarantined=lost)), tmp_path)
        assert "cat/00499.jpg" in source
        assert "cat/00500.jpg" not in source
        assert "The first 500 of 20,000; split.json has all." in Page(source).words
        assert len(source) - before < 50_000


def test_groups_with_thumbnails_stand_before_the_list_of_the_others(run: Run, tmp_path: Path) -> None:
    groups = (("cat/1.jpg", "cat/2.jpg"), ("cat/3.jpg", "dog/4.jpg", "dog/5.jpg"))
    twice = tuple(
        LeftOut(f"{label}/6.jpg", LeftOutKind.CONTRADICTING_LABELS, "cat and dog", label) for label in ("cat", "dog")
    )
    split = replace(run.split, alike=groups, contradicting=groups[1:], quarantined=twice)
    run = replace(run, split=split, path=tmp_path)
    pictures = [("cat/3.jpg", 0, "train"), ("dog/4.jpg", 1, ""), ("cat/6.jpg", 0, ""), ("cat/7.jpg", 0, "train")]
    save_thumbnails(tmp_path, [Thumbnail(f"{n:064x}", *each) for n, each in enumerate(pictures)])
    shown = words(run, tmp_path)
    assert "cat and dog cat/6.jpg the same content under several labels 2 pictures cat/6.jpg" in shown
    assert "several labels cat train cat/3.jpg dog not used dog/4.jpg and dog/5.jpg More groups cat/1.jpg" in shown
    images = [each["alt"] for tag, each in Page(section(run, tmp_path)).elements if tag == "img"]
    assert images == ["cat/7.jpg", "A picture labelled cat and dog", "A picture of cat", "A picture of dog"]


def test_a_sample_is_said_as_such(run: Run, tmp_path: Path) -> None:
    split = replace(run.split, available=10_000)
    headline = " ".join(Inventory(split, run.config).headline.split())
    assert headline == "drawn, 2 classes, 1,200 pictures, a sample of 10,000: 840 train, 180 validation, 180 test"
    shown = words(replace(run, split=split), tmp_path)
    assert "1,200 pictures, a sample of 10,000" in shown
    assert "The findings below are of all 10,000 pictures." in shown
    assert "sample of" not in words(replace(run, split=replace(split, available=1200)), tmp_path)


def test_the_faults_for_paper_are_a_few_lines_without_pictures(messy_run: Run, run: Run) -> None:
    def faults(run: Run) -> str:
        folded = {"data": (page.FOLDED["data"], page.FOLDED["data"].build(run))}
        return page.environment().get_template("sections/data_faults.html").render(run=run, folded=folded)

    split = replace(messy_run.split, contradicting=messy_run.split.alike[:1])
    shown = Page(faults(replace(messy_run, split=split)))
    assert "Left out, cannot be decoded: 61 train/dog/<img" in shown.words
    assert "2 groups of near-duplicates kept together, 1 with several labels" in shown.words
    assert [tag for tag, _ in shown.elements].count("li") == 7
    assert not [tag for tag, _ in shown.elements if tag == "img"]
    assert Page(faults(run)).words == "Faults of the data None found."


class TestLosses:
    def test_leaks_and_a_class_that_lost_much_are_warnings(self, messy_run: Run) -> None:
        leaks, owls = Inventory(messy_run.split, messy_run.config).losses
        assert (
            leaks.replace("\u00a0", " ")
            .replace("\u202f", " ")
            .startswith("1 picture of the ready-made parts repeats one of a later part:")
        )
        assert " ".join(owls.split()) == "Of owl, 62 of 1,078 pictures (5.8 %) are left out."

    def test_a_little_damage_is_no_news(self, run: Run) -> None:
        lost = (LeftOut("cat/666.jpg", LeftOutKind.EMPTY, label="cat"),)
        assert Inventory(replace(run.split, quarantined=lost), run.config).losses == []

    @pytest.mark.parametrize("config", [RunConfig(limit=300), RunConfig(split_file="split.json")])
    def test_a_sample_says_nothing_of_what_its_classes_lost(self, messy_run: Run, config: RunConfig) -> None:
        """The audit is of all pictures, the counts are of some."""
        assert not [each for each in Inventory(messy_run.split, config).warnings if "owl" in each]


class TestTerminal:
    def started(self, split: SplitInfo, **settings: object) -> str:
        out = io.StringIO()
        ConsoleProgress(out).data(split, RunConfig(**settings))
        return out.getvalue()

    def listed(self, split: SplitInfo, every: bool = False) -> list[str]:
        out = io.StringIO()
        print_inventory(split, RunConfig(), every, out)
        return out.getvalue().splitlines()

    def test_a_clean_run_starts_with_one_line(self, run: Run) -> None:
        assert self.started(run.split) == (
            "data: drawn, 2 classes, 1,200 pictures: 840 train, 180 validation, 180 test\n"
        )
        folds = replace(run.split, folds=5, counts={**run.split.counts, "validation": {}})
        assert "1,020 pictures: 840 in 5 folds, 180 test" in self.started(folds)

    def test_what_was_found_is_a_second_line(self, messy_run: Run) -> None:
        second = self.started(messy_run.split).splitlines()[1]
        assert second.startswith("  67 left out (cannot be decoded: 61, empty file (0 bytes): 2, nearly the same as a")
        assert second.endswith(
            "2 groups of near-duplicates kept together, 15 other files ignored; the report lists them"
        )
        assert "2 groups of near-duplicates not kept together" in self.started(
            messy_run.split, near_duplicates="ignore"
        )

    def test_the_listing_is_short_unless_everything_is_asked_for(self, messy_run: Run) -> None:
        short, full = self.listed(messy_run.split), self.listed(messy_run.split, every=True)
        assert "    … 58 more, --all lists them" in short
        assert "    train/owl/59.jpg (broken data stream)" in full
        assert not [line for line in full if "--all" in line]
        assert any("\\u202e\\ncat\\ud800" in line for line in full)

    def test_a_hundred_classes_stay_readable(self, run: Run) -> None:
        split = many_classes(run.split)
        short, full = self.listed(split), self.listed(split, every=True)
        assert sum(line.startswith("class 0") for line in short) == 20
        assert any("… 80 more, --all lists them" in line for line in short)
        assert sum(line.startswith("class 0") for line in full) == 100

    def test_no_text_from_outside_takes_the_terminal_over(self, run: Run) -> None:
        split = replace(run.split, source=HOSTILE, classes=(f"[red]{HOSTILE}", "dog"))
        shown = "\n".join(self.listed(split)) + self.started(split)
        assert "[red]<img src=x" in shown
        assert not set(shown) & {"\x1b", "\u202e", "\u2028", "\ud800"}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("Cat", "cat"), "Classes 'Cat' and 'cat' differ only in case, blanks or Unicode form: if they are one, give"),
        (("cat", "cat "), "Classes 'cat' and 'cat ' differ"),
        (("New York", "new  york"), "Classes 'New York' and 'new  york' differ"),
        (("cafe\u0301", "caf\u00e9"), r"Classes 'cafe\u0301' and 'caf\xe9' differ"),
    ],
)
def test_classes_that_look_alike_are_pointed_out(names: tuple[str, ...], says: str) -> None:
    split = SplitInfo("photos", (*names, "dog"), {"train": dict.fromkeys((*names, "dog"), 3)}, "")
    (warning,) = Inventory(split, RunConfig()).warnings
    assert warning.startswith(says)
