"""The commits in a record are those of the suite's code and of the project, whatever folder the run was started in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import bench
from bench.records import Run, RunStatus, SplitInfo
from bench.report.sections.reproduce import environment_facts
from bench.runs import environment


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Makes a git checkout with one commit of a file; gives its folder and its commit."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    def make(name, file):
        path = tmp_path / name / file
        path.parent.mkdir(parents=True)
        path.write_text(f"# of {name}\n")
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", name]):
            subprocess.run(["git", "-C", str(tmp_path / name), *command], check=True)
        return tmp_path / name, environment._git(tmp_path / name, "rev-parse", "--short=12", "HEAD")

    return make


def test_suite_and_project_have_their_commits_and_not_that_of_the_folder_they_are_started_in(checkout, monkeypatch):
    (suite, of_suite), (project, of_project) = checkout("suite", "bench/__init__.py"), checkout("project", "mine.py")
    elsewhere, of_elsewhere = checkout("elsewhere", "file")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(bench, "__file__", str(suite / "bench" / "__init__.py"))
    assert environment.commits([project]) == {"git_commit": of_suite, "project_commit": of_project}
    assert environment.commits([Path("/"), project])["project_commit"] == of_project
    assert environment.commits()["project_commit"] == of_elsewhere
    (suite / "bench" / "__init__.py").write_text("changed")
    assert environment.commits([project]) == {"git_commit": f"{of_suite}+", "project_commit": of_project}


def test_an_installed_suite_has_no_commit_also_inside_the_checkout_of_a_project(checkout, monkeypatch):
    project, of_project = checkout("project", "mine.py")
    installed = project / ".venv" / "bench"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.chdir(project)
    monkeypatch.setattr(bench, "__file__", str(installed / "__init__.py"))
    assert environment.commits() == {"git_commit": "", "project_commit": of_project}


def test_outside_git_or_without_it_there_is_no_commit(checkout, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "__init__.py"))
    assert environment.commits() == {"git_commit": "", "project_commit": ""}
    project, _ = checkout("project", "mine.py")
    monkeypatch.setenv("PATH", "")
    assert environment.commits([project]) == {"git_commit": "", "project_commit": ""}


@pytest.mark.parametrize(
    ("recorded", "commit", "shown"),
    [
        ({"git_commit": "a", "project_commit": "b"}, "b", {"Commit of the suite": "a", "Commit of the project": "b"}),
        ({"git_commit": "a", "project_commit": ""}, "a", {"Commit of the suite": "a"}),
        ({"git_commit": "b+"}, "b+", {"Commit of the project": "b+"}),  # as older versions wrote it
        ({}, "", {}),
    ],
)
def test_the_commits_of_a_record_are_named_as_what_they_are(recorded, commit, shown):
    run = Run(
        path=Path("run"),
        status=RunStatus.COMPLETE,
        created_utc="",
        config=bench.RunConfig(),
        environment=recorded,
        split=SplitInfo("", (), {}, ""),
        families=(),
        studies=(),
    )
    assert run.commit == commit
    assert environment_facts(run) == shown
