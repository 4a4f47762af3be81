"""`bench lint`: the corners as a table, one line for each finding, the exit status."""

from __future__ import annotations

import json

import pytest

from bench import workers
from bench.cli import parser
from bench.records import Failure, FailureKind, PhaseWork, Speed, Work
from bench.testing import FakePool
from bench.training.messages import Corner, LintFinding, LintKind, LintResult
from bench.workers import Outcome


def work(parameters, macs, **phase):
    phases = (PhaseWork(10, macs, **phase),)
    return Work(parameters=parameters, trainable_parameters=parameters, macs=macs, batch_size=32, phases=phases)


SMALL = work(2_800, 9_000_000)
LARGE = work(33_600_000, 300_000_000, memory_mb=800)
CORNERS = (
    Corner("smallest", {"filters": 2}, {}, SMALL),
    Corner("default", {"filters": 2}, {}, SMALL),
    Corner("largest", {"filters": 64, "head": "dense"}, {"filters": 64, "head": "dense"}, LARGE),
)
SPEED = Speed(0.1, 0.001, SMALL)


class LintPool(FakePool):
    """Answers each family with a result or a failure."""

    def __init__(self, answers):
        super().__init__(lambda hp, family: None, lambda family, params: 0.0)
        self.answers, self.jobs = answers, []

    def finished(self, timeout_s):
        job, _ = self._waiting.pop(0)
        self.jobs.append(job)
        answer = self.answers[job.id]
        return [Outcome(job, **{"failure" if isinstance(answer, Failure) else "result": answer})]


@pytest.fixture
def lint(tmp_path, space, monkeypatch, capsys):
    """Runs the command on families with these results; gives exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(answers, *arguments):
        pool = LintPool(answers)
        monkeypatch.setattr(workers, "start", lambda config: pool)
        status = parser.main(["lint", *(space(name) for name in answers), *arguments])
        assert pool.closed
        run.jobs = pool.jobs
        out, err = capsys.readouterr()
        return status, out, err

    return run


def finding(tmp_path, kind=LintKind.UNUSED, name="a"):
    path = str(tmp_path / "spaces" / f"{name}.py")
    return LintFinding(kind, "lr changes nothing: did you mean learning_rate?", path, 12)


def test_a_sound_family_is_a_table_and_status_0(lint):
    status, out, _ = lint({"a": LintResult(corners=CORNERS, speed=SPEED)})
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == "a"
    assert lines[1].split() == "parameters trainable MACs size time memory values other than the defaults".split()
    assert lines[2].startswith("smallest       2.8 k      2.8 k  9.0 M")
    assert lines[2].endswith("the defaults")
    assert lines[4].endswith("filters 64, head dense")
    assert lines[-2:] == ["time and memory: forecast of a trial on 2,000 pictures", "nothing found in spaces/a.py"]


def test_the_forecast_grows_with_the_model_and_the_pictures(lint):
    def times(*arguments):
        _, out, _ = lint({"a": LintResult(corners=CORNERS, speed=SPEED)}, "--json", *arguments)
        return [forecast["time_s"] for forecast in json.loads(out)[0]["forecasts"]]

    few, many = times(), times("--images", "20000")
    assert few[0] == few[1] < few[2]
    assert all(5 * before < after for before, after in zip(few, many, strict=True))


def test_a_finding_is_a_line_with_its_place_and_status_1(lint, tmp_path):
    results = {"a": LintResult(findings=(finding(tmp_path),), notes=("not all",)), "b": LintResult()}
    status, out, err = lint(results)
    assert status == 1
    assert "spaces/a.py:12: lr changes nothing: did you mean learning_rate?\nnote: not all\n" in out
    assert out.endswith("1 finding in 2 families\n")
    assert "building the corners" in err


def test_a_file_that_cannot_be_used_is_status_2_and_others_are_checked(lint, tmp_path):
    status, out, _ = lint({"a": LintResult(findings=(finding(tmp_path, LintKind.BROKEN),)), "b": LintResult()})
    assert status == 2
    assert "\nb\n" in out


def test_a_worker_that_dies_is_a_finding(lint):
    status, out, _ = lint({"a": Failure(FailureKind.TIMEOUT, "the lint took longer than its 300 s")})
    assert status == 2
    assert "spaces/a.py:1: cannot be checked: TIMEOUT: the lint took longer than its 300 s" in out


def test_json_has_everything(lint, tmp_path):
    result = LintResult(corners=CORNERS, findings=(finding(tmp_path),), builds=9, speed=SPEED)
    status, out, err = lint({"a": result}, "--json")
    (family,) = json.loads(out)
    assert (status, err) == (1, "")
    assert family["family"] == "a"
    assert family["findings"][0]["kind"] == "unused"
    assert family["findings"][0]["line"] == 12
    assert family["corners"][2]["work"]["parameters"] == 33_600_000
    assert len(family["forecasts"]) == 3


def test_options_reach_the_job(lint):
    lint({"a": LintResult()}, "--classes", "7", "--input-sizes", "32,64", "--unbalanced")
    (job,) = lint.jobs
    assert (len(job.class_names), job.input_sizes, job.unbalanced) == (7, (32, 64), True)
