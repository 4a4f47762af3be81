"""`bench baseline` as a user meets it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import Budget, RunConfig, runner, workers
from bench.cli import parser
from bench.config import USUAL_SPLIT
from bench.runs import environment
from bench.testing import FakePool

Command = Callable[..., tuple[int, str, str]]


def depth(hp: Any, family: str) -> None:
    hp.Int("depth", 1, 9)


def pool() -> FakePool:
    return FakePool(depth, lambda family, params: params["depth"] / 10)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one family and one seed."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "a.py").write_text("def build(hp): ...\n")
    config = RunConfig(
        images=100, split=USUAL_SPLIT, budget=Budget(2), out=str(folder / "run"), spaces=(str(folder / "a.py"),)
    )
    return runner.run(config, pool=pool()).path


@pytest.fixture
def made(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(first, tmp_path / "run"))


@pytest.fixture
def baseline(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        status = parser.main(["baseline", *arguments])
        return status, *capsys.readouterr()

    return run


@pytest.mark.storage
def test_it_is_written_where_check_looks_for_it(made: Path, baseline: Command) -> None:
    status, out, _ = baseline("run")
    assert status == 0
    assert out.splitlines()[0] == "drawn cats and dogs (seed 0), 20 test pictures"
    assert out.splitlines()[1].endswith("1 seed: a check can only warn; --seeds 5 measures the noise of seeds")
    assert out.splitlines()[-1] == "reports/baseline.json"
    assert Path("reports/baseline.json").read_bytes() == (made / "results.json").read_bytes()
    assert parser.main(["check", "run"]) == 0


@pytest.mark.storage
def test_more_seeds_are_trained_once(made: Path, baseline: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [pool()]
    monkeypatch.setattr(workers, "start", lambda config: pools[-1])
    status, out, err = baseline("run", "--seeds", "5", "--out", "kept/base.json")
    assert status == 0
    assert len(pools[0].trained) == 4
    assert "training a, seed 5 of 5" in err
    assert "5 seeds: a check with 5 seeds detects a drop of" in out
    assert "UNDERPOWERED: a: a drop of twice the limit could go unseen; test on more pictures" in out
    assert json.loads(Path("kept/base.json").read_text())["families"]["a"]["seeds"] == [0, 1, 2, 3, 4]
    pools.append(pool())
    assert baseline("run", "--seeds", "4", "--quiet") == (0, "reports/baseline.json\n", "")
    assert pools[1].trained == []


@pytest.mark.storage
@pytest.mark.parametrize(
    ("recorded", "says"),
    [
        ({"git_commit": "a", "project_commit": "b"}, []),
        ({"git_commit": "a", "project_commit": "c"}, ["the run's project commit is c, and now it is b"]),
        ({"git_commit": "c", "project_commit": "b"}, ["the run's git commit is c, and now it is a"]),
        ({"git_commit": "b"}, []),  # an older record, of the project
        ({"git_commit": ""}, ["the run's project commit is unknown, and now it is b"]),
    ],
)
def test_seeds_of_other_code_are_said(
    made: Path, baseline: Command, monkeypatch: pytest.MonkeyPatch, recorded: dict[str, str], says: list[str]
) -> None:
    data = json.loads((made / "run.json").read_text())
    kept = {name: value for name, value in data["environment"].items() if not name.endswith("_commit")}
    (made / "run.json").write_text(json.dumps({**data, "environment": {**kept, **recorded}}))
    monkeypatch.setattr(environment, "commits", lambda folders: {"git_commit": "a", "project_commit": "b"})
    monkeypatch.setattr(workers, "start", lambda config: pool())
    status, _, err = baseline("run", "--seeds", "2")
    warnings = [line for line in err.splitlines() if "changes between them become part of the noise" in line]
    assert status == 0
    assert len(warnings) == len(says)
    assert all(text in line for text, line in zip(says, warnings, strict=True))


@pytest.mark.storage
def test_a_run_that_is_not_complete_gives_none(made: Path, baseline: Command) -> None:
    data = json.loads((made / "run.json").read_text())
    (made / "run.json").write_text(json.dumps({**data, "status": "partial"}))
    status, _, err = baseline("run")
    assert status == 4
    assert "run: is partial; a baseline needs a complete run" in err
    assert not Path("reports/baseline.json").exists()


@pytest.mark.storage
def test_a_run_in_which_no_family_was_scored_gives_none(made: Path, baseline: Command) -> None:
    shutil.rmtree(made / "predictions")
    status, _, err = baseline("run")
    assert status == 4
    assert err == "error: run: no family has a test accuracy, so there is nothing to compare with\n"
    assert not Path("reports/baseline.json").exists()


@pytest.mark.storage
def test_the_records_of_a_run_are_not_written_over(made: Path, baseline: Command) -> None:
    before = (made / "run.json").read_bytes()
    status, _, err = baseline("run", "--out", "run/run.json")
    assert status == 2
    assert "run/run.json: contains the records of a run; name another file" in err
    assert (made / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "not a run folder"),
        (["nowhere", "--seeds", "many"], "seeds 'many': must be 1 to 100"),
        (["nowhere", "--seeds", "0"], "seeds '0': must be 1 to 100"),
        (["nowhere", "--seeds", ""], "seeds '': must be 1 to 100"),
        (["nowhere", "--policy", "none.toml"], "none.toml: the policy cannot be read"),
        (["nowhere", "--out", "."], "is a folder; name a file"),
        (["nowhere", "--out", "family.py"], "must end in .json"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, baseline: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = baseline(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
