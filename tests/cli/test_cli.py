"""The command line as a user meets it: help, mistakes, output, exit status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __version__, workers
from bench.cli import parser
from bench.config import SETTINGS
from bench.testing import FakePool

HEAVY = ["tensorflow", "keras", "keras_tuner", "optuna", "pandas", "plotly", "sklearn", "scipy", "numpy", "PIL", "rich"]


def depth(hp, family):
    hp.Int("depth", 1, 9)


@pytest.fixture
def bench(tmp_path, space, monkeypatch, capsys, in_memory):
    """Runs a command in an empty folder on a fake family `a`; gives exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    pools = []

    def run(*arguments, pool=None):
        pools.append(pool or FakePool(depth, lambda family, params: params["depth"] / 10))
        monkeypatch.setattr(workers, "start", lambda config: pools[-1])
        status = parser.main(arguments)
        out, err = capsys.readouterr()
        return status, out, err

    run.family = space("a")
    run.usual = ("run", "--budget", "3", "--spaces", run.family, "--images", "24", "--out", "here")
    return run


# -- help


def test_help_loads_nothing_heavy():
    code = f"""
import sys
from bench.cli import parser
try:
    parser.main(["--help"])
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["lint", "--help"],
        ["data", "--help"],
        ["report", "--help"],
        ["compare", "--help"],
        ["baseline", "--help"],
        ["check", "--help"],
        ["history", "--help"],
        ["list", "--help"],
    ],
)
def test_help_ends_well(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parser.main(arguments)
    assert caught.value.code == 0
    assert "usage: python -m bench" in capsys.readouterr().out


def test_help_of_run_names_every_engine_and_default(capsys):
    with pytest.raises(SystemExit):
        parser.main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for word in ("keras-tuner:hyperband", "optuna:cmaes", "default 20", "successive-halving", "sub-folder per class"):
        assert word in text
    assert "float32, float16 (half the disk), or off (every trial trains end to end); default float32" in text


def test_every_setting_is_an_option_of_run_once(capsys):
    with pytest.raises(SystemExit):
        parser.main(["run", "--help"])
    options = re.findall(r"^  (?:-h, )?(--[a-z-]+)", capsys.readouterr().out, re.M)
    assert sorted(options) == sorted([setting.flag for setting in SETTINGS.values()] + ["--help", "--quiet", "--json"])


def test_a_stream_that_knows_ascii_only_gets_escapes(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as caught:
        parser.main(["run", "--help"])
    assert caught.value.code == 0
    assert rb"postgresql://\u2026" in stream.buffer.getvalue()


def test_no_command_shows_the_help(bench):
    status, out, _ = bench()
    assert status == 2
    assert "examples:" in out


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        parser.main(["--version"])
    assert capsys.readouterr().out.strip() == f"bench {__version__}"


# -- mistakes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runn"], "unknown command 'runn'. Did you mean run?"),
        (
            ["run", "--buget", "3"],
            "arguments: --buget 3. Did you mean --budget? See `python -m bench run --help`",
        ),
        (["run", "--budget", "0"], "budget 0: must be at least 1 trial"),
        (["run", "--budget", "soon"], "budget 'soon': must be a number of trials (20), a time"),
        (["run", "--budget", "-5"], "budget"),
        (["run", "--engine", "tpe"], "unknown engine 'tpe'. Did you mean optuna:tpe?"),
        (["run", "--engine", "optuna:tpee"], "unknown engine 'optuna:tpee'. Did you mean optuna:tpe"),
        (["run", "--engine", ","], "must be names separated by commas"),
        (["run", "--spaces", "vgg61"], "unknown family 'vgg61'. Did you mean vgg1"),
        (["run", "--data", "no/such/folder"], "no/such/folder"),
        (["run", "--epochs", "ten"], "epochs 'ten': must be a whole number"),
        (["run", "--split", "0.5,0.5"], "three shares"),
        (["run", "--trial-timeout", "5"], "trial-timeout '5': must be a time"),
        (["run", "--features", "float8"], "unknown features 'float8'. Did you mean float"),
        (["run", "--folds", "1"], "folds 1: must be 2 to 20"),
        (
            ["run", "--plotlyjs", "online"],
            "unknown plotlyjs 'online'. Did you mean inline? Choices: cdn, directory, inline",
        ),
        (["run", "--near-duplicates", "keep"], "unknown near-duplicates 'keep'. Choices: group, ignore"),
        (["run", "--split-file", "no.json"], "no.json: cannot be read, "),
        (["run", "--split-file", "split.json", "--folds", "5"], "defines the whole split; leave out --folds"),
        (["lint"], "FILE"),
        (["lint", "vgg61"], "unknown family 'vgg61'. Did you mean vgg1"),
        (["lint", "cnn", "--classes", "1"], "classes '1': must be 2 to 100000"),
        (["lint", "cnn", "--input-sizes", "4"], "input-sizes (4,): must be whole numbers of 8 to 1024 pixels"),
        (["data"], "name the pictures, e.g. `python -m bench data photos/`"),
        (["data", "drwn"], "unknown data set 'drwn'. Did you mean drawn?"),
        (["data", "drawn", "--limit", "1"], "limit 1: must be at least 12 pictures"),
        (["data", "drawn", "--out", "."], "out '.': is a folder"),
        (["data", "drawn", "--budget", "3"], "unrecognized arguments: --budget 3"),
        (["report", "nowhere"], "nowhere: not a run folder, run.json is missing"),
        (["report"], "RUN"),
        (["report", "spaces", "--plotlyjs", "x"], "unknown plotlyjs 'x'. Choices: cdn, directory, inline"),
        (["report", "spaces", "--format", "pdf"], "unknown format 'pdf'. Choices: html, md"),
        (["report", "spaces", "--out", "x.html"], "out 'x.html': the page stays in its run folder"),
        (["report", "spaces", "--format", "md", "--out", "."], "out '.': is a folder"),
        (["compare", "one"], "RUN"),
        (["compare", "nowhere", "elsewhere"], "nowhere: not a run folder, run.json is missing"),
        (["compare", "spaces", "spaces/../spaces"], "are the same run; name two"),
        (["compare", "one", "two", "--out", "."], "out '.': is a folder; name a file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(bench, tmp_path, arguments, says):
    status, out, err = bench(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["spaces"]


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ({}, "is empty"),
        ({"cats": 4}, "one class"),
        ({"cats": 4, "dogs": 0}, "dogs"),
        ({"cats": 4, "dogs": 1}, "dogs"),
    ],
)
def test_pictures_that_cannot_be_used_are_named(bench, tmp_path, classes, says):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, count in classes.items():
        (folder / name).mkdir()
        for number in range(count):
            Image.new("RGB", (20, 20), (number, 0, 0)).save(folder / name / f"{number}.png")
    status, _, err = bench("run", "--data", "pictures", "--spaces", bench.family, "--out", "here")
    assert status == 2
    assert says in err.lower()
    assert not (tmp_path / "here").exists()


# -- output


def test_a_run_tells_its_progress_and_prints_the_board(bench, tmp_path):
    status, out, err = bench(*bench.usual)
    assert status == 0
    assert "trial   3 of 3  a" in err
    assert "best " in err
    assert "to go" in err
    assert "test accuracy" in out
    assert out.splitlines()[-1] == f"report: {Path('here') / 'report.html'}"
    assert (tmp_path / "here" / "report.html").is_file()


def test_a_run_says_first_what_its_pictures_are(bench):
    _, _, err = bench(*bench.usual)
    assert "data: drawn cats and dogs (seed 0), 2 classes, 24 pictures: " in err
    assert "left out" not in err


def test_quiet_prints_the_board_only(bench):
    status, out, err = bench(*bench.usual, "--quiet")
    assert status == 0
    assert err == ""
    assert "test accuracy" in out


def test_json_is_all_there_is_on_standard_output(bench):
    status, out, err = bench(*bench.usual, "--json")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert result["status"] == "complete"
    assert result["leaderboard"][0]["family"] == "a"
    assert result["leaderboard"][0]["test_accuracy"] == result["leaderboard"][0]["val_accuracy"]


def test_the_command_is_recorded(bench, tmp_path):
    bench(*bench.usual)
    command = json.loads((tmp_path / "here" / "run.json").read_text())["command"]
    assert command.startswith("python -m bench run --budget 3 --spaces ")


def test_known_configurations_alone_are_all_run(bench, tmp_path):
    known = {"a": [{"depth": 5}, {"depth": 2}]}
    pool = FakePool(depth, lambda family, params: params["depth"] / 10, known)
    arguments = ("run", "--only-known", "--features", "float16", "--spaces", bench.family, "--images", "24")
    status, _, err = bench(*arguments, "--out", "here", pool=pool)
    assert status == 0
    assert [params["depth"] for _, params in pool.trained[:2]] == [5, 2]  # then the best one is scored
    assert "trial   2 of 2  a" in err
    record = json.loads((tmp_path / "here" / "run.json").read_text())
    assert record["command"].startswith("python -m bench run --only-known --features float16 ")
    assert (record["config"]["only_known"], record["config"]["features"]) == (True, "float16")
    assert "the known configurations" in (tmp_path / "here" / "report.html").read_text()


def test_no_known_configurations_are_status_2(bench, tmp_path):
    status, out, err = bench("run", "--only-known", "--spaces", bench.family, "--images", "24", "--out", "here")
    assert (status, out) == (2, "")
    last = err.splitlines()[-1]
    assert last == "error: only-known: nothing to run, there are no KNOWN_CONFIGURATIONS in a; leave it out"
    assert not (tmp_path / "here").exists()


def test_a_family_without_a_result_is_status_4(bench):
    def broken(family, params):
        raise ValueError("never works")

    status, out, err = bench(*bench.usual, pool=FakePool(depth, broken))
    assert status == 4
    assert "FAIL ValueError: never works" in err
    assert "a: no complete trial: 3 failed (ValueError: never works)" in out


def test_ctrl_c_is_status_130_and_keeps_the_run(bench, tmp_path):
    def score(family, params):
        if len(pool.trained) == 1:  # once, not while the best is scored
            signal.raise_signal(signal.SIGINT)
        return 0.5

    pool = FakePool(depth, score)
    status, _, err = bench(*bench.usual, pool=pool)
    assert status == 130
    assert "the partial run is kept" in err
    assert "continue it: python -m bench resume here" in err
    assert json.loads((tmp_path / "here" / "run.json").read_text())["status"] == "partial"


@pytest.mark.slow
@pytest.mark.storage
def test_an_interrupted_run_goes_on_to_its_budget_or_to_a_larger_one(bench, tmp_path):
    def score(family, params):
        if len(pool.trained) == 1:
            signal.raise_signal(signal.SIGTERM)
        return 0.5

    pool = FakePool(depth, score)
    here = str(tmp_path / "here")
    assert bench(*bench.usual, pool=pool)[0] == 143
    assert bench("resume", here)[0] == 0
    status, _, err = bench("resume", here)
    assert (status, "is complete; --budget names a larger total" in err) == (2, True)
    assert bench("resume", here, "--budget", "5", "--json")[0] == 0
    states = json.loads((tmp_path / "here" / "run.json").read_text())["trials"]
    assert states == {"COMPLETE": 5}


@pytest.mark.parametrize("option", [["--storage", "{}"], ["--storage={}"]])
def test_the_command_in_the_record_has_no_password(bench, tmp_path, option):
    url = 'postgresql://me:it\'s a "s3cr@t"@host/db?sslpassword=s3cret'
    assert bench(*bench.usual, *(word.format(url) for word in option))[0] == 0
    command = json.loads((tmp_path / "here" / "run.json").read_text())["command"]
    assert "postgresql://me:***@host/db?sslpassword=***" in command
    files = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert [path for path in files if b"s3cr" in path.read_bytes()] == []


# -- data


@pytest.fixture
def pictures(tmp_path):
    """A folder of 30 cats and 12 dogs, 3 of them damaged."""
    for name, count in (("cats", 30), ("dogs", 12)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(count):
            noise(number + 100 * count).save(tmp_path / "pictures" / name / f"{number:02d}.png")
    for number in range(3):
        (tmp_path / "pictures" / "dogs" / f"{number:02d}.png").write_bytes(b"")
    return tmp_path / "pictures"


def noise(seed):
    """A picture of 20 by 30 pixels; no two seeds give one."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 20, 3), dtype=np.uint8))


def test_data_says_what_the_pictures_are_and_changes_nothing(bench, pictures, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    status, out, _ = bench("data", "pictures", "--input-sizes", "16")
    assert status == 0
    assert out.startswith("pictures, 2 classes, 39 pictures: ")
    assert "Unbalanced: cats has 3.4 times as many pictures as dogs; always answering cats is right for 75.0 %" in out
    assert "20 × 30 pixels; input sizes 16" in out
    assert "warning: Of dogs, 3 of 12 pictures (25.0 %) are left out." in out
    assert "  empty file (0 bytes): 3\n    dogs/00.png\n" in out
    assert out.endswith("python -m bench run --budget 20 --data pictures --input-sizes 16\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_data_writes_a_split_that_a_run_takes_up(bench, pictures, tmp_path):
    _, out, _ = bench("data", "pictures", "--folds", "3", "--out", "split.json")
    assert "in 3 folds" in out
    assert out.endswith("--split-file split.json\n")
    status, _, err = bench(
        "run", "--split-file", "split.json", "--budget", "1", "--spaces", bench.family, "--out", "here"
    )
    assert status == 0, err
    split, used = (json.loads((tmp_path / name).read_text()) for name in ("split.json", "here/split.json"))
    assert split == used


def test_data_as_json_is_all_there_is(bench, pictures):
    status, out, err = bench("data", "pictures", "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert sum(sum(part.values()) for part in told["counts"].values()) == 39
    assert [each["id"] for each in told["quarantined"]] == ["dogs/00.png", "dogs/01.png", "dogs/02.png"]
    assert told["balance"]["largest"] == "cats"
    left_out, unbalanced = told["warnings"]
    assert left_out == "Of dogs, 3 of 12 pictures (25.0 %) are left out."
    assert unbalanced.startswith("The largest class has 3.6 times the training pictures of the smallest")
    assert "--metric balanced_accuracy" in unbalanced
    assert told["sizes"] == {"smallest": [20, 30], "median": [20, 30], "largest": [20, 30]}


def test_the_options_of_data_are_those_of_run(capsys):
    def offered(command):
        with pytest.raises(SystemExit):
            parser.main([command, "--help"])
        return set(re.findall(r"^ +(--[a-z-]+)", capsys.readouterr().out, re.M))

    assert offered("data") - offered("run") == {"--all", "--leak"}
    assert offered("data") > {
        "--images",
        "--limit",
        "--split",
        "--folds",
        "--near-duplicates",
        "--group-by",
        "--input-sizes",
        "--seed",
    }


def test_every_known_data_set_is_named_by_the_help(capsys):
    from bench.data.sources import KNOWN

    with pytest.raises(SystemExit):
        parser.main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert [name for name in KNOWN if name not in text and name.partition(":")[0].islower()] == []


def test_list_shows_families_engines_data_and_runs(bench):
    _, before, _ = bench("list")
    assert "none yet" in before
    bench("run", "--budget", "1", "--spaces", bench.family, "--images", "24")
    status, out, _ = bench("list")
    assert status == 0
    words = ("mobilenet_v2", "inverted residuals", "optuna:gp", "drawn", "cats_vs_dogs", "complete", "reports/")
    for word in words:
        assert word in out
    default, optional = out.partition("engines (--engine)")[0].split(
        "optional families (only where --spaces names them)"
    )
    assert "\n  cnn " in default
    assert "\n  resnet50 " in optional


def test_list_says_that_a_local_file_hides_a_built_in_family(bench, tmp_path):
    local = tmp_path / "search_spaces" / "cnn.py"
    local.parent.mkdir()
    local.write_text("def build(hp, task):\n    ...\n")
    _, out, _ = bench("list")
    assert f"  note: {local} replaces the built-in family cnn\n" in out


def test_list_and_the_page_of_all_runs_agree(bench, tmp_path):
    bench("run", "--budget", "2", "--spaces", bench.family, "--images", "24")
    (tmp_path / "reports" / "torn").mkdir()
    (tmp_path / "reports" / "torn" / "run.json").write_text("{")
    _, out, _ = bench("list")
    sound, torn = out.splitlines()[-2:]
    assert re.search(r"reports/\S+  20\d\d-.* complete  drawn cats and dogs .*  a \d+.\d % \(.*\)  2 trials  ", sound)
    assert "torn/run.json: damaged" in torn
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "1 run" in page.replace("\u00a0", " ").replace(
        "\u202f", " "
    )  # written when the run ended, before the torn one was there
    assert ">complete</td>" in page
    (link,) = re.findall(r'href="([^"]*report.html)"', page)
    assert (tmp_path / "reports" / link).is_file()


def test_a_run_elsewhere_leaves_no_list_behind(bench, tmp_path):
    bench(*bench.usual)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "spaces"]


def test_plotly_may_lie_beside_the_page(bench, tmp_path):
    status, _, _ = bench(*bench.usual, "--plotlyjs", "directory")
    assert status == 0
    assert (tmp_path / "here" / "plotly.min.js").stat().st_size > 1_000_000
    assert (tmp_path / "here" / "report.html").stat().st_size < 1_000_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with two runs, `one` and `two`, that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "a.py").write_text("def build(hp, task):\n    ...\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, seed in (("one", "0"), ("two", "1")):
            pool = FakePool(depth, lambda family, params: params["depth"] / 10)
            patch.setattr(workers, "start", lambda config, pool=pool: pool)
            budget = ("--budget", "1", "--spaces", "a.py", "--images", "24", "--quiet")
            assert parser.main(["run", *budget, "--seed", seed, "--out", name]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.storage
def test_compare_writes_a_page_beside_the_first_run(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    capsys.readouterr()
    assert parser.main(["compare", "one", "two"]) == 0
    out = capsys.readouterr().out
    assert "    seed: 0 → 1\n" in out
    assert out.endswith("page: compare-one-two.html\n")
    page = (runs / "compare-one-two.html").read_text()
    assert 'href="one/report.html"' in page
    assert parser.main(["compare", "one", "two", "--out", "sub/page.html", "--all"]) == 0
    assert "epochs: 10\n" in capsys.readouterr().out
    assert (runs / "sub" / "page.html").is_file()


@pytest.mark.slow
@pytest.mark.storage
def test_a_run_that_is_named_by_a_dot_keeps_its_name(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs / "one")
    assert parser.main(["report", "."]) == 0
    assert " · one ·" in (runs / "one" / "report.html").read_text()
    assert parser.main(["compare", ".", "../two"]) == 0
    assert (runs / "compare-one-two.html").is_file()


@pytest.mark.slow
@pytest.mark.storage
def test_a_page_that_cannot_be_written_is_a_mistake(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    capsys.readouterr()
    assert parser.main(["compare", "one", "two", "--out", "/proc/page.html"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.storage
def test_report_draws_the_page_again(tmp_path, space, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pool = FakePool(depth, lambda family, params: 0.5)
    monkeypatch.setattr(workers, "start", lambda config: pool)
    parser.main(["run", "--budget", "1", "--spaces", space("a"), "--images", "24", "--out", "here", "--quiet"])
    page = tmp_path / "here" / "report.html"
    page.unlink()
    capsys.readouterr()
    assert parser.main(["report", "here"]) == 0
    assert capsys.readouterr().out == f"{Path('here') / 'report.html'}\n"
    assert "leaderboard" in page.read_text().lower()
    assert parser.main(["report", "here", "--format", "md"]) == 0
    printed = capsys.readouterr().out
    assert "|`a`|" in printed
    assert parser.main(["report", "here", "--format", "md", "--out", "run.md"]) == 0
    assert capsys.readouterr().out == "run.md\n"
    assert (tmp_path / "run.md").read_text() == printed


@pytest.mark.parametrize(("command", "unbuffered"), [("--help", ""), ("list", ""), ("list", "1")])
def test_a_reader_that_has_gone_is_no_error(command, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "bench", command], stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_bug_has_a_status_of_its_own_and_a_traceback(monkeypatch, capsys):
    def broken(options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("bench.cli.list.run", broken)
    assert parser.main(["list"]) == 70
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err
