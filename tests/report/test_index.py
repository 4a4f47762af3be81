"""The list of runs: what is on it, in which order, and where one is kept."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.report import index
from bench.runs import store

from .browser import opened
from .conftest import plain

HOSTILE = "<img src=x onerror=alert(1)>\"'&</script>\u202e#?%"


def record(**changes: Any) -> dict[str, Any]:
    """A `run.json`, with what the list of runs reads."""
    best = {
        "family": "cnn",
        "weights": "",
        "val_accuracy": 0.9,
        "test_accuracy": 0.875,
        "test_accuracy_low": 0.8,
        "test_accuracy_high": 0.925,
    }
    made = {
        "schema_version": 1,
        "status": "complete",
        "created_utc": "2026-11-21T00:18:00Z",
        "elapsed_s": 612.0,
        "command": "python -m bench run",
        "config": {"engines": ["optuna:tpe"]},
        "environment": {},
        "split": {"source": "photos", "classes": ["cats", "dogs"], "counts": {}, "sha256": "5eed"},
        "families": [{"name": "cnn"}, {"name": "dummy"}],
        "trials": {"COMPLETE": 18, "FAIL": 2},
        "best": best,
        "notes": [],
        "prefix": "",
    }
    return {**made, **changes}


def save(folder: Path, name: str, text: str | None = None, **changes: Any) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(text if text is not None else json.dumps(record(**changes)))
    (run / "report.html").touch()
    return run


def listed(folder: Path) -> str:
    page = folder / "index.html"
    index.write(store.summaries(folder), page)
    return page.read_text(encoding="utf-8")


def test_runs_stand_newest_first_with_what_came_out(tmp_path: Path) -> None:
    save(tmp_path, "b", created_utc="2026-11-20T09:00:00Z", status="partial")
    save(tmp_path, "a", created_utc="2026-11-21T00:18:00Z")
    page = listed(tmp_path)
    assert "2 runs" in plain(page)
    assert (
        "2026-11-21 00:18 a photos cnn and dummy optuna:tpe cnn 87.5 % 80.0–92.5 % 20 2 failed complete 10 min 12 s"
        in plain(page)
    )
    assert re.findall(r'href="([^"#]+)"', page) == ["a/report.html", "b/report.html"]


def test_a_run_without_a_test_accuracy_shows_its_validation(tmp_path: Path) -> None:
    save(tmp_path, "a", status="running", best={"family": "cnn", "weights": "random (missing)", "val_accuracy": 0.9})
    save(tmp_path, "b", best=None, trials={"FAIL": 3}, status="failed")
    text = plain(listed(tmp_path))
    assert "cnn · random weights 90.0 % validation 20" in text
    assert "– – 3 3 failed failed" in text


def test_an_older_record_is_listed_with_what_it_has(tmp_path: Path) -> None:
    old = {key: value for key, value in record().items() if key not in ("trials", "best")}
    save(tmp_path, "old", text=json.dumps(old))
    assert "old photos cnn and dummy optuna:tpe – – – complete" in plain(listed(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        (json.dumps({"schema_version": 1}), "damaged"),
        (json.dumps(record(elapsed_s="soon")), "damaged"),
        (json.dumps(record(best=3)), "damaged"),
        (json.dumps({"schema_version": 99}), "schema version 99"),
        (json.dumps({"schema_version": "x"}), "damaged"),
    ],
)
def test_what_cannot_be_read_is_listed_as_that(tmp_path: Path, text: str, says: str) -> None:
    save(tmp_path, "broken", text=text)
    save(tmp_path, "sound")
    page = plain(listed(tmp_path))
    assert "sound photos" in page
    assert re.search(f"Cannot be read broken .*{says}", page)


def test_hostile_names_stay_text_and_lead_to_their_page(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    save(tmp_path, name, status=HOSTILE, split={"source": HOSTILE}, families=[{"name": HOSTILE}])
    page = listed(tmp_path)
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert "<img" not in markup
    assert "\u202e" not in markup
    (href,) = re.findall(r'href="([^"]+report.html)"', page)
    assert not set("<>\"'#? ") & set(href)
    assert "default-src 'none'; script-src 'sha256-" in html.unescape(page)


def test_a_long_list_is_small(tmp_path: Path) -> None:
    save(tmp_path, "a")
    ((first,)) = store.summaries(tmp_path)
    index.write(
        [replace(first, path=tmp_path / f"{number:015}-drawn") for number in range(500)], tmp_path / "index.html"
    )
    assert (tmp_path / "index.html").stat().st_size < 1_000_000


# -- where there is one


def test_the_default_folder_gets_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = save(tmp_path / "reports", "a")
    assert index.update(Path("reports/a")) == run.parent / "index.html"
    assert "1 run" in plain((tmp_path / "reports" / "index.html").read_text())


def test_any_other_folder_gets_none_unless_it_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = save(tmp_path / "elsewhere", "a")
    assert index.update(run) is None
    assert not (tmp_path / "elsewhere" / "index.html").exists()
    listed(tmp_path / "elsewhere")
    save(tmp_path / "elsewhere", "b")
    assert index.update(run) is not None
    assert "2 runs" in plain((tmp_path / "elsewhere" / "index.html").read_text())


def test_a_page_that_somebody_else_wrote_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = save(tmp_path / "reports", "a")
    (tmp_path / "reports" / "index.html").write_text("mine")
    assert index.update(run) is None
    assert (tmp_path / "reports" / "index.html").read_text() == "mine"


# -- in a browser


@pytest.mark.slow
def test_a_heading_sorts_with_the_keyboard_and_the_address_remembers(browser: Any, tmp_path: Path) -> None:
    for name, accuracy in (("low", 0.5), ("none", None), ("high", 0.95)):
        best = {"family": "cnn", "weights": "", "test_accuracy": accuracy} if accuracy else None
        save(tmp_path, name, best=best)
    listed(tmp_path)

    def names(shown: Any) -> list[str]:
        return [each.strip() for each in shown.locator("tbody th").all_inner_texts()]

    with opened(browser, tmp_path / "index.html") as shown:
        assert names(shown) == ["none", "low", "high"]  # all of one moment: by name, backwards
        shown.get_by_role("button", name="Accuracy").focus()
        shown.keyboard.press("Enter")
        assert names(shown) == ["high", "low", "none"]
        shown.keyboard.press("Enter")
        assert names(shown) == ["low", "high", "none"]
        assert shown.get_by_role("columnheader", name="Accuracy").get_attribute("aria-sort") == "ascending"
        fragment = shown.evaluate("location.hash")
    with opened(browser, tmp_path / "index.html", fragment) as shown:
        assert names(shown) == ["low", "high", "none"]
