"""Tables of paths and labels."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from PIL import Image

from bench import data
from bench.config import RunConfig
from bench.data.pictures import PictureError
from bench.data.sources import create
from bench.errors import DataError

ROW = "row of the table that cannot be used"


@pytest.fixture
def table(tmp_path):
    """A table with this text, in a folder with these (empty) files."""

    def make(text, *names, name="labels.csv", **settings):
        for each in names:
            (tmp_path / "data" / each).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / each).touch()
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return create(RunConfig(data=str(path), **settings))

    return make


def labels(source):
    return {entry.id: entry.label for entry in source.listing().entries}


def reasons(source):
    return {each.id: each.reason for each in source.listing().left_out}


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            "path,label\na/1.jpg,cat\n2.jpg,dog\n",
            "\ufeffpath,label\r\na/1.jpg,cat\r\n2.jpg,dog\r\n",
            "label;path\ncat;a/1.jpg\ndog;2.jpg\n",
            "File Name\tother, thing\tClass\na/1.jpg\t7\tcat\n2.jpg\t8\tdog\n",
            "\nid,image,y\n1,a/1.jpg,cat\n\n2, ./2.jpg ,dog,,\n",
            '"path","target"\n"a/1.jpg","cat"\n"2.jpg","dog"',
        ],
    )
    def test_columns_delimiters_and_line_ends_are_found(self, table, text):
        assert labels(table(text, "a/1.jpg", "2.jpg")) == {"a/1.jpg": "cat", "2.jpg": "dog"}

    def test_parts_are_kept_and_a_row_without_one_is_for_training(self, table):
        rows = [("1", "Train"), ("2", "val"), ("3", "testing"), ("4", "")]
        text = "path,label,split\n" + "".join(f"{kind}{n}.jpg,{kind},{part}\n" for kind in "ab" for n, part in rows)
        found = table(text).listing()
        assert found.classes == ("a", "b")
        assert [entry.part for entry in found.entries] == ["train", "validation", "test", "train"] * 2

    def test_an_empty_column_of_parts_leaves_the_split_to_the_suite(self, table):
        found = table("path,label,split\n1.jpg,a,\n2.jpg,b,\n").listing()
        assert {entry.part for entry in found.entries} == {None}

    def test_an_id_without_its_suffix_finds_its_picture(self, table):
        source = table("id,breed,label\nab.c,x,a\nd,y,b\ne,z,b\n", "ab.c.jpg", "d.png", "e")
        assert labels(source) == {"ab.c.jpg": "a", "d.png": "b", "e": "b"}

    def test_paths_written_on_windows_are_found(self, table):
        assert labels(table("path,label\nx\\1.jpg,a\nx\\2.jpg,b\n", "x/1.jpg", "x/2.jpg")) == {
            "x/1.jpg": "a",
            "x/2.jpg": "b",
        }

    def test_absolute_paths_may_lead_anywhere(self, table, tmp_path):
        Image.new("RGB", (20, 10)).save(tmp_path / "far.png")
        source = table(f"path,label\n{tmp_path}/far.png,a\nnear.png,b\n", "near.png")
        assert labels(source) == {f"{tmp_path}/far.png": "a", "near.png": "b"}
        assert source.picture(f"{tmp_path}/far.png").pixels.shape == (10, 20, 3)

    def test_a_missing_file_is_listed_and_an_error_with_its_path_when_it_is_read(self, table):
        source = table("path,label\n1.jpg,a\ngone.jpg,b\n", "1.jpg")
        assert labels(source) == {"1.jpg": "a", "gone.jpg": "b"}
        with pytest.raises(PictureError, match=r"gone\.jpg': cannot be read: No such file"):
            source.picture("gone.jpg")


class TestRows:
    def test_rows_that_cannot_be_used_are_listed_with_their_line(self, table):
        source = table(
            "path,label,part\n"
            "1.jpg,a,train\n"
            "2.jpg,b,train\n"
            "3.jpg,,train\n"
            ",b,train\n"
            "5.jpg,b,holdout\n"
            "6.jpg\n"
            "7.jpg,b,train,more\n"
            "n\0l.jpg,b,train\n"
            "1.jpg,a,train\n"
            "sub,b,train\n",
            "sub/x",
        )
        assert labels(source) == {"1.jpg": "a", "2.jpg": "b"}
        assert reasons(source) == {
            "3.jpg": f"{ROW}: line 4: no label",
            "labels.csv, line 5": f"{ROW}: line 5: no path",
            "5.jpg": f"{ROW}: line 6: part 'holdout': must be one of train, validation, test",
            "6.jpg": f"{ROW}: line 7: no label",
            "7.jpg": f"{ROW}: line 8: 4 cells under 3 columns",
            "n\0l.jpg": f"{ROW}: line 9: a null character in its path",
            "1.jpg": f"{ROW}: line 10: already named in line 2",
            "sub": "not a regular file: line 11",
        }

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ("x.jpg,a,train\nx.jpg,b,train\n", "its label is a in line 4 and b in line 5"),
            ("x.jpg,a,train\n./x.jpg,a,test\n", "its part is train in line 4 and test in line 5"),
        ],
    )
    def test_rows_that_contradict_each_other_are_all_left_out(self, table, rows, says):
        source = table(f"path,label,part\n1.jpg,a,train\n2.jpg,b,train\n{rows}")
        assert labels(source) == {"1.jpg": "a", "2.jpg": "b"}
        assert reasons(source) == {"x.jpg": f"{ROW}: {says}"}

    @pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
    def test_relative_paths_stay_in_the_folder(self, table, tmp_path):
        (tmp_path / "secret.jpg").touch()
        (tmp_path / "data" / "in").mkdir(parents=True)
        (tmp_path / "data" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
        (tmp_path / "data" / "up").symlink_to(tmp_path)
        (tmp_path / "data" / "good.jpg").symlink_to("1.jpg")
        (tmp_path / "data" / "loop.jpg").symlink_to("loop.jpg")
        paths = ["../secret.jpg", "in/../../other.jpg", "link.jpg", "up/secret.jpg"]
        kept = ["good.jpg", "in/../2.jpg", "loop.jpg", "x" * 300]
        source = table("path,label\n1.jpg,b\n" + "".join(f"{each},a\n" for each in (*paths, *kept)), "1.jpg", "2.jpg")
        assert set(labels(source)) == {"1.jpg", "good.jpg", "2.jpg", "loop.jpg", "x" * 300}
        assert reasons(source) == {
            "../secret.jpg": f"{ROW}: line 3: path that leads outside the table's folder",
            "../other.jpg": f"{ROW}: line 4: path that leads outside the table's folder",
            "link.jpg": "link, not followed: line 5: leads outside the table's folder",
            "up/secret.jpg": "link, not followed: line 6: leads outside the table's folder",
        }

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_what_is_no_file_is_not_opened(self, table, tmp_path):
        (tmp_path / "data").mkdir()
        os.mkfifo(tmp_path / "data" / "pipe.jpg")
        source = table("path,label\n1.jpg,a\n2.jpg,b\npipe.jpg,b\n")
        assert reasons(source) == {"pipe.jpg": "not a regular file: line 4"}


def rows(form, n=4, classes="ab"):
    """Rows of a table in this form, so many of each class."""
    return "".join(form.format(c=c, n=number) + "\n" for c in classes for number in range(n))


class TestColumns:
    @pytest.mark.parametrize(
        ("header", "form", "settings"),
        [
            (
                "test_samples,test_labels",
                "{c}{n}.jpg,{c}",
                {"path_column": "test_samples", "label_column": "test_labels"},
            ),
            ("number,Test Labels,where", "{n},{c},{c}{n}.jpg", {"path_column": "where", "label_column": "test-label"}),
            ("path,label,class", "{c}{n}.jpg,x{n},{c}", {"label_column": "class"}),
            ("image,id", "{c}{n}.jpg,{c}", {"label_column": "Id"}),
            ("path,label", "{c}{n}.jpg,x", {"label_from": r"^(\w)\d"}),
            ("path", "{c}{n}.jpg", {"label_from": r"^(\w)\d"}),
            ("path", "sub/{c}/{n}.jpg", {"label_from": r"(?P<top>\w+)/(?P<label>\w+)/"}),
            ("filepath,labels", "{c}{n}.jpg,{c}", {}),
            ("class id,filepaths,labels,data set", "{n},{c}{n}.jpg,{c},", {}),
            ("image_id,dx,lesion_id", "{c}{n},{c},L{n}", {}),
            (",path,label", "{n},{c}{n}.jpg,{c}", {}),
            ("Unnamed: 0,image,fold,label", "{n},{c}{n}.jpg,{n},{c}", {}),
            ("path|label", "{c}{n}.jpg|{c}", {}),
        ],
    )
    def test_known_names_and_settings_find_the_columns(self, table, header, form, settings):
        found = table(f"{header}\n{rows(form)}", **settings).listing()
        assert [(entry.label, entry.part) for entry in found.entries] == [("a", None)] * 4 + [("b", None)] * 4

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            (
                {},
                "names the columns 'test_samples', 'test_labels'; it must have one of path, .* or --path-column and",
            ),
            (
                {"path_column": "test_samples"},
                "must have one of label, .*, or --label-column with another name; --label-f",
            ),
            ({"label_from": "(.)"}, "must have one of path, [^;]* for the path, or --path-column with another name$"),
            (
                {"path_column": "test_sampels"},
                r"unknown path-column 'test_sampels'\. Did you mean test_samples .* Choices: test_labels, test_samples",
            ),
            ({"split_column": "part"}, "unknown split-column 'part'. Choices: test_labels, test_samples"),
        ],
    )
    def test_a_column_that_is_not_there_is_an_error_with_the_columns(self, table, settings, says):
        with pytest.raises(DataError, match=says):
            table("test_samples,test_labels\n" + rows("{c}{n}.jpg,{c}"), **settings).listing()

    def test_of_several_known_columns_one_is_taken_and_said(self, table):
        found = table("image_id,path,label,class\n" + rows("{n},{c}{n}.jpg,{c},x{n}")).listing()
        assert found.classes == ("a", "b")
        assert found.guesses == (
            "the path is in the column 'path', not in 'image_id'; --path-column names another",
            "the label is in the column 'label', not in 'class'; --label-column names another",
        )

    def test_an_error_of_the_split_says_what_was_guessed(self, table, tmp_path):
        source = table("path,label,class\n" + rows("{c}{n}.png,{n},{c}"))
        for number, name in enumerate(f"{c}{n}.png" for c in "ab" for n in range(4)):
            Image.new("L", (8, 8), number).save(tmp_path / "data" / name)
        with pytest.raises(DataError, match=r"class '0' has 2 pictures .*; the label is in .* --label-column names an"):
            data.open(RunConfig(data=str(source.path)))

    def test_a_truth_value_marks_the_validation_part(self, table):
        text = "path,label,is_valid\n" + rows("{c}{n}.jpg,{c},False") + rows("{c}v{n}.jpg,{c},True", 2)
        assert [entry.part for entry in table(text).listing().entries] == ["train"] * 8 + ["validation"] * 4

    @pytest.mark.parametrize("setting", ["path_column", "label_column", "split_column", "label_from"])
    def test_settings_of_tables_are_refused_for_other_sources(self, setting):
        with pytest.raises(DataError, match=f"data 'drawn': is not a table.*leave out --{setting.replace('_', '-')}"):
            create(RunConfig(**{setting: "(x)"}))

    def test_the_manifest_is_opened_without_the_settings(self, table, tmp_path):
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
            (tmp_path / "data" / "deep").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data" / "deep" / f"{'ab'[number % 2]}{number}.png")
        text = "where\n" + "".join(f"{'ab'[number % 2]}{number}.png\n" for number in range(12))
        source = table(text)
        opened = data.open(RunConfig(data=str(source.path), path_column="where", label_from="^(.)"))
        opened.write(tmp_path / "split.json")
        assert data.load(tmp_path / "split.json") == opened
        assert opened.info().guesses[0].startswith("pictures found by name in the folders below: 12, e.g. a0.png is ")
        again = data.open(RunConfig(split_file=str(tmp_path / "split.json")))
        assert (again.sha256, again.classes) == (opened.sha256, ("a", "b"))


class TestLabels:
    @pytest.mark.parametrize("header", ["image,a,b,rare", "image,a,b,rare,label"])
    @pytest.mark.parametrize(("one", "zero"), [("1", "0"), ("1.0", "0.0"), ("True", "False")])
    def test_one_hot_columns_are_recognised_and_said(self, table, header, one, zero):
        values = {"a": f"{one},{zero},{zero}", "b": f"{zero},{one},{zero}"}
        lines = [f"{c}{n}.jpg,{values[c]}" + "," * header.endswith("label") for c in "ab" for n in range(4)]
        found = table("\n".join([header, *lines, f"none.jpg,{zero},{zero},{zero}"])).listing()
        assert [entry.label for entry in found.entries] == ["a"] * 4 + ["b"] * 4
        assert found.guesses == (
            "the label is the one that has a 1 of the columns 'a', 'b', 'rare' of 0 and 1; "
            "--label-column names another column",
        )
        assert [each.detail for each in found.left_out] == ["line 10: no label"]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                "image,a,b\n1.jpg,1,1\n2.jpg,1,0\n3.jpg,0,1\n",
                "1 of 3 rows have several labels in the columns 'a', 'b' of",
            ),
            (
                "path,label\n1.jpg,a\n2.jpg,b\n3.jpg,a b\n4.jpg,b a\n",
                "2 of 4 rows .* column 'label', e.g. 'a b'; .*multi-la",
            ),
            ("path,label\n1.jpg,a\n2.jpg,b c\n3.jpg,a|b c\n", "1 of 3 rows have several labels .* e.g. 'a|b c'"),
            ("path;label\n1.jpg;a\n2.jpg;b\n3.jpg;a, b\n", "1 of 3 rows have several labels .* e.g. 'a, b'"),
        ],
    )
    def test_several_labels_are_refused_with_the_number_of_rows(self, table, text, says):
        with pytest.raises(DataError, match=says):
            table(text).listing()

    def test_a_few_rows_with_several_labels_are_left_out(self, table):
        found = table("path,label\n" + rows("{c}{n}.jpg,{c}", 60) + "x.jpg,a|b\n").listing()
        assert [each.detail for each in found.left_out] == ["line 122: several labels"]

    def test_a_label_of_two_words_is_no_list_of_labels(self, table):
        assert table("path,label\n" + rows("{c}{n}.jpg,{c} pie")).listing().classes == ("a pie", "b pie")

    def test_a_number_for_every_picture_is_no_class(self, table):
        says = "12 labels in 12 rows, in the column 'target': every class needs at least 3 .*regression"
        with pytest.raises(DataError, match=says):
            table("path,target\n" + "".join(f"{n}.jpg,{n / 7}\n" for n in range(12))).listing()


class TestReasons:
    def test_the_reason_of_many_rows_is_said_once_with_a_suggestion(self, table):
        text = "path,label,split\n" + rows("{c}{n}.jpg,{c},train") + rows("{c}t{n}.jpg,{c},tset", 10) + "x.jpg,,train\n"
        note = "20 rows are left out: part 'tset': must be one of train, validation, test. Did you mean test?"
        assert table(text).listing().guesses == (note,)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            (
                rows("a{n}.jpg,a,train") + rows("b{n}.jpg,b,tset"),
                "has one class, 'a': .*; 8 rows are left out: part 'tset'",
            ),
            (
                rows("{c}{n}.jpg,{c},trian") + rows("{c}t{n}.jpg,{c},test"),
                "has no row for training .* Did you mean train?",
            ),
        ],
    )
    def test_an_error_names_the_reason_of_the_rows_that_are_left_out(self, table, text, says):
        with pytest.raises(DataError, match=says):
            table(f"path,label,split\n{text}").listing()


class TestSearch:
    def test_ids_are_searched_in_the_folders_below(self, table):
        names = [f"part_{n % 2}/deep/{c}{n}.png" for c in "ab" for n in range(4)]
        source = table("image_id,dx\n" + rows("{c}{n},{c}"), *names, ".hidden/a1.png", "part_0/deep/a1.txt")
        assert labels(source) == {f"part_{n % 2}/deep/{c}{n}.png": c for c in "ab" for n in range(4)}
        assert source.listing().guesses == (
            "pictures found by name in the folders below: 8, e.g. a0 is part_0/deep/a0.png; "
            "a path in the table decides otherwise",
        )

    def test_a_name_of_several_files_is_left_out_unless_they_are_the_same(self, table, tmp_path):
        source = table("image,label\n" + rows("{c}{n}.jpg,{c}"), "x/a0.jpg", "y/a0.jpg", "x/a1.jpg", "y/a1.jpg")
        (tmp_path / "data" / "x" / "a0.jpg").write_bytes(b"another")
        assert labels(source)["x/a1.jpg"] == "a"
        assert reasons(source) == {"a0.jpg": f"{ROW}: line 2: several files have this name: x/a0.jpg and y/a0.jpg"}
        assert any(
            "ambiguous names, left out: 1, e.g. 'a0.jpg': several" in guess for guess in source.listing().guesses
        )

    def test_of_a_picture_and_its_mask_the_jpeg_is_taken(self, table):
        names = [f"{folder}/{c}.{suffix}" for c in "ab" for folder, suffix in (("photos", "jpg"), ("masks", "png"))]
        assert labels(table("id,label\na,a\nb,b\n", *names)) == {"photos/a.jpg": "a", "photos/b.jpg": "b"}

    def test_nothing_is_searched_where_paths_lead_to_pictures(self, table):
        source = table("image,label\nx/a.jpg,a\nx/b.jpg,b\n", "x/a.jpg", "y/b.jpg")
        assert labels(source) == {"x/a.jpg": "a", "x/b.jpg": "b"}
        assert source.listing().guesses == ()


class TestParquet:
    def test_a_parquet_file_is_read_as_a_csv_file_is(self, table, tmp_path):
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {
            "pixels": [{"bytes": b"x"}] * 4,
            "path": ["1.jpg", "2.jpg", "3.jpg", None],
            "label": pyarrow.array(["a", "b", None, "b"]).dictionary_encode(),
            "is_valid": [True, False, False, False],
        }
        (tmp_path / "data").mkdir()
        parquet.write_table(pyarrow.table(columns), tmp_path / "data" / "labels.parquet")
        source = create(RunConfig(data=str(tmp_path / "data" / "labels.parquet")))
        assert {entry.id: (entry.label, entry.part) for entry in source.listing().entries} == {
            "1.jpg": ("a", "validation"),
            "2.jpg": ("b", "train"),
        }
        assert {each.detail for each in source.listing().left_out} == {"row 3: no label", "row 4: no path"}
        with pytest.raises(DataError, match=r"labels.parquet' cannot be read: "):
            table(b"PAR1 no parquet", name="labels.parquet").listing()

    def test_without_its_package_the_error_names_the_extra(self, table, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(DataError, match=r"Parquet needs the package pyarrow: pip install '.*\[parquet\]'"):
            table(b"PAR1", name="labels.parquet").listing()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "",
            "names the columns nothing; it must have one of path, file, .*, id for the path and one of label, class, ",
        ),
        (
            "path,colour\n1.jpg,red\n",
            "names the columns 'path', 'colour'; it must have one of label, .*, y, dx for the label",
        ),
        ("1.jpg,cat\n2.jpg,dog\n", "first line .1.jpg,cat. is no header: names of columns are needed, e.g. path,label"),
        ("path,label\n", "has no row"),
        ("path,label\n1.jpg,\n", f"has no row that can be used; '1.jpg': {ROW}: line 2: no label"),
        ("path,label\n1.jpg,a\n", "has one class, 'a': at least two are needed"),
        ("x" * 200_000, "line 1: field larger than field limit"),
        (b"path,label\n1.jpg,a\n2.jpg,\xe9t\xe9\n", "line 3: is not UTF-8 text"),
        ('path,label\n1.jpg,a\n"2.jpg,b\n3.jpg,b\n', "line 4: unexpected end of data"),
    ],
)
def test_what_is_no_such_table_is_one_clear_line(table, text, says):
    with pytest.raises(DataError, match=says) as caught:
        table(text).listing()
    assert "labels.csv'" in str(caught.value)
    assert "\n" not in str(caught.value)
