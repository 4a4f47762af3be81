"""Tables of paths and labels."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from bench.data.pictures import PictureError
from bench.data.sources.table import Table
from bench.errors import DataError

ROW = "row of the table that cannot be used"


@pytest.fixture
def table(tmp_path):
    """A table with this text, in a folder with these (empty) files."""

    def make(text, *names, name="labels.csv"):
        for each in names:
            (tmp_path / "data" / each).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / each).touch()
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Table(path)

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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "",
            "names the columns nothing; it must have one of path, file, filename, image, id for the path and one of",
        ),
        (
            "path,colour\n1.jpg,red\n",
            "names the columns 'path', 'colour'; it must have one of label, class, category, target, y",
        ),
        ("1.jpg,cat\n2.jpg,dog\n", "names the columns '1.jpg', 'cat'; it must have one of path"),
        ("path,label\n", "has no row"),
        ("path,label\n1.jpg,\n", f"has no row that can be used; '1.jpg': {ROW}: line 2: no label"),
        ("path,label\n1.jpg,a\n", "has one class, 'a': at least two are needed"),
        (b"path,label\n1.jpg,a\n2.jpg,\xe9t\xe9\n", "line 3: is not UTF-8 text"),
        ('path,label\n1.jpg,a\n"2.jpg,b\n3.jpg,b\n', "line 4: unexpected end of data"),
    ],
)
def test_what_is_no_such_table_is_one_clear_line(table, text, says):
    with pytest.raises(DataError, match=says) as caught:
        table(text).listing()
    assert "labels.csv'" in str(caught.value)
    assert "\n" not in str(caught.value)
