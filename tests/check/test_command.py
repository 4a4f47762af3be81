"""`python -m bench check` as CI meets it: exit status, what is printed, which files are written, what is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from bench.cli import parser
from bench.runs.results import FILE, write

from .made import STEPS, again, family, results

BEFORE = results({"cnn": 0.9, "vgg16": 0.85})


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Checks a run against a baseline in an empty folder; gives exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def of(candidate=None, *options, baseline=BEFORE):
        if baseline is not None:
            write(tmp_path / "reports" / "baseline.json", baseline)
        if candidate is not None:
            (tmp_path / "run").mkdir(exist_ok=True)
            write(tmp_path / "run" / FILE, candidate)
        status = parser.main(["check", "run", *map(str, options)])
        out, err = capsys.readouterr()
        return status, out, err

    return of


WORSE = again(BEFORE, cnn=family(0.88, draw=1))
PARTIAL = replace(WORSE, status="partial")
OTHER = replace(PARTIAL, config={"images": 1})


@pytest.mark.parametrize(
    ("candidate", "status", "last"),
    [
        (again(BEFORE), 0, "PASS: no regression in 2 families (baseline 01234567, 2026-11-20)"),
        (WORSE, 1, "FAIL: 1 regression in 2 families (baseline 01234567, 2026-11-20)"),
        (OTHER, 3, "NOT COMPARABLE: setting data: 'drawn' in the baseline, absent in this run"),
        (PARTIAL, 4, "INCOMPLETE: the run is partial: it was stopped before its budget was used; 1 regression in 2"),
    ],
)
def test_the_exit_status_is_the_verdict_and_the_last_line_says_it(check, candidate, status, last):
    found, out, err = check(candidate)
    assert found == status
    assert out.splitlines()[-1].startswith(last)
    assert err == ""


def test_a_missing_baseline_is_status_3_and_every_output_says_so(check, tmp_path):
    status, out, err = check(WORSE, "--junit", "check.xml", "--markdown", "check.md", "--github", baseline=None)
    assert status == 3
    assert err == "error: reports/baseline.json: no such file; `python -m bench baseline RUN` writes one\n"
    assert out.startswith("::error title=bench check%3A no baseline::reports/baseline.json: no such file")
    (case,) = ElementTree.parse(tmp_path / "check.xml").getroot().iter("testcase")
    assert case.find("error").get("message").startswith("reports/baseline.json: no such file")
    assert (tmp_path / "check.md").read_text().startswith("## NO BASELINE: nothing was judged\n")


@pytest.mark.parametrize("damage", ["", "{", "null", '{"schema_version": 999}', "\x00"])
def test_a_damaged_or_newer_baseline_is_status_3(check, tmp_path, damage):
    (tmp_path / "old.json").write_text(damage)
    status, _, err = check(WORSE, "--baseline", "old.json")
    assert status == 3
    assert err.startswith("error: old.json: ")


def test_another_run_can_be_the_baseline_and_a_file_the_run(check, tmp_path):
    (tmp_path / "earlier").mkdir()
    write(tmp_path / "earlier" / FILE, BEFORE)
    assert check(WORSE, "--baseline", "earlier", baseline=None)[0] == 1
    assert parser.main(["check", "run/results.json", "--baseline", "earlier"]) == 1
    assert check(WORSE, "--baseline", "reports", baseline=None)[0] == 3  # a folder, but none of a run
    status, _, err = check(WORSE, "--baseline", "earlier", "--junit", "earlier/results.json", baseline=None)
    assert (status, "is read by this check" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--policy", "none.toml"], "none.toml: the policy cannot be read: No such file"),
        (["--json", "--github"], "--json prints only JSON; leave out --github"),
        (["--json", "--quiet"], "--json prints only JSON; leave out --quiet"),
        (["--junit", "."], "junit '.': is a folder; name a file, e.g. check.xml"),
        (["--junit", "run/../reports/baseline.json"], "is read by this check; name another file"),
        (["--markdown", "run/results.json"], "is read by this check; name another file"),
        (["--junit", "a", "--markdown", "./a"], "markdown './a': is the file of --junit; name another file"),
        (["--junit", "run/results.json/a.xml"], "run/results.json/a.xml: cannot be written: File exists"),
        (["--baseline", ""], "baseline '': a file is expected"),
        (["--junit", "other/results.json"], "other/results.json: contains the records of a run; name another file"),
        (["--polcy", "x"], "unrecognized arguments: --polcy x. Did you mean --policy?"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(check, options, says, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").touch()
    status, out, err = check(OTHER, *options)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def test_a_run_that_is_not_there_or_damaged_is_status_2_also_without_a_baseline(check, tmp_path):
    status, _, err = check(None, baseline=None)
    assert (status, err) == (2, "error: run: there is no such run\n")
    (tmp_path / "run").mkdir()
    assert check(None, baseline=None)[0] == 2
    (tmp_path / "run" / FILE).write_text("{")
    status, _, err = check(None, baseline=None)
    assert status == 2
    assert err.startswith("error: run/results.json: damaged, ")


COMMAND = "cnn\n::add-mask::x ##[error]y\u202e"


def test_no_name_in_a_file_is_a_command_to_the_ci_that_reads_the_errors(check, tmp_path):
    candidate = again(BEFORE, **{COMMAND: family(0.9)})
    (tmp_path / "bench.toml").write_text("[check.families.nowhere]\nmax_drop = 0.02\n")
    errors = [check(candidate)[2]]  # names the families that there are
    (tmp_path / "bench.toml").unlink()
    data = json.loads((tmp_path / "run" / FILE).read_text())
    data["families"][COMMAND]["seeds"].pop()
    (tmp_path / "old.json").write_text(json.dumps(data))
    errors += [check(BEFORE, "--baseline", "old.json")[2]]
    (tmp_path / "run" / FILE).write_bytes((tmp_path / "old.json").read_bytes())
    errors += [check()[2]]
    for error in errors:
        assert "::add-mask::x #\\x23[error]y\\u202e" in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1


def test_a_wrong_policy_counts_before_a_missing_baseline(check, tmp_path):
    (tmp_path / "bench.toml").write_text("[check]\nmax_drop = 1\n")
    status, _, err = check(PARTIAL, baseline=None)
    assert status == 2
    assert "bench.toml: [check] max_drop = 1: must be a share" in err


def test_a_policy_in_the_folder_is_taken_and_named(check, tmp_path):
    (tmp_path / "bench.toml").write_text("[check.families.cnn]\nmax_drop = 0.03\n")
    status, out, _ = check(WORSE)
    assert status == 0
    assert "policy: bench.toml" in out
    (tmp_path / "strict.toml").write_text("[check]\nmax_drop = 0.01\n")
    assert check(WORSE, "--policy", "strict.toml")[0] == 1
    (tmp_path / "bench.toml").write_text("[check.families.cmn]\nmax_drop = 0.03\n")
    assert check(WORSE)[0] == 2


def test_the_files_are_written_whatever_the_verdict(check, tmp_path):
    for candidate, status in ((WORSE, 1), (OTHER, 3), (PARTIAL, 4)):
        assert check(candidate, "--junit", "out/check.xml", "--markdown", "out/check.md")[0] == status
        assert ElementTree.parse(tmp_path / "out" / "check.xml").getroot().tag == "testsuites"
        text = (tmp_path / "out" / "check.md").read_text()
        assert text.count("\n## ") == 0  # replaced, not added to
        assert text.startswith(("## FAIL", "## NOT COMPARABLE", "## INCOMPLETE"))


def test_the_summary_of_a_github_job_is_added_to(check, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("# An earlier step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for _ in range(2):
        check(WORSE, "--markdown", summary)
    text = summary.read_text()
    assert text.startswith("# An earlier step\n\n## FAIL")
    assert text.count("## FAIL: 1 regression") == 2


def test_a_summary_that_is_nearly_full_is_not_overfilled(check, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("x" * (1024 * 1024 - 6000))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    check(again(results({f"family{i}": 0.9 for i in range(20)})), "--markdown", summary,
          baseline=results({f"family{i}": 0.9 for i in range(20)}))  # fmt: skip
    assert 1024 * 1024 - 6000 < summary.stat().st_size <= 1024 * 1024
    assert "left out: the page would be too long" in summary.read_text()


def test_json_is_all_that_is_printed(check):
    status, out, err = check(WORSE, "--json")
    data = json.loads(out)
    assert (status, data["exit_status"], err) == (1, 1, "")
    status, out, _ = check(WORSE, "--json", "--baseline", "none.json")
    assert (status, json.loads(out)["exit_status"]) == (3, 3)
    assert json.loads(out)["error"].startswith("none.json: no such file")


def test_quiet_and_all_and_github(check):
    assert check(WORSE, "--quiet")[1] == "FAIL: 1 regression in 2 families (baseline 01234567, 2026-11-20)\n"
    assert "vgg16   parameters" in check(WORSE, "--all")[1]
    lines = check(WORSE, "--github")[1].splitlines()
    assert lines[0].startswith("::error title=bench check::FAIL: 1 regression")
    assert lines[1].startswith("::error title=cnn%2C accuracy::fell by 2.0 points")
    assert not lines[-1].startswith("::")


def test_a_check_changes_neither_the_baseline_nor_the_run(check, tmp_path):
    check(WORSE, "--junit", "check.xml")
    files = [tmp_path / "reports" / "baseline.json", tmp_path / "run" / FILE]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    assert parser.main(["check", "run", "--markdown", "check.md", "--github"]) == 1
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check.md", "check.xml", "reports", "run"]


HEAVY = ["tensorflow", "keras", "keras_tuner", "optuna", "pandas", "plotly", "sklearn", "scipy.stats", "jinja2", "PIL"]

LOADED = f"""
import sys
from bench.cli import parser
status = parser.main(sys.argv[1:])
print([name for name in {HEAVY!r} if name in sys.modules], status)
"""


def test_an_ordinary_check_loads_nothing_heavy(tmp_path):
    write(tmp_path / "baseline.json", BEFORE)
    slow = family(0.85, step_time_s=[2 * time for time in STEPS])
    write(tmp_path / "results.json", again(WORSE, vgg16=slow, new=family(0.7)))
    (tmp_path / "bench.toml").write_text("[check]\nmin_accuracy = 0.5\n")
    command = [sys.executable, "-c", LOADED, "check", "results.json", "--baseline", "baseline.json", "--junit", "a.xml",
               "--markdown", "a.md", "--github"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[] 1"
