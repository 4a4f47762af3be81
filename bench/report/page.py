"""The page: records in, one HTML text out. Everything it needs is inside it, and only its own script can run.

Templates escape every text by themselves (Jinja's autoescape), after `text.clean` took out what must not be seen.
Figures travel as JSON in data blocks, which no browser runs, and the Content-Security-Policy names the two scripts by
their hash: should something outside still get in as markup, it stays inert.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jinja2
from markupsafe import Markup

from bench.records import COMPLETE, FAIL, RUNNING, FamilyInfo, Run, Trial
from bench.report import text
from bench.report.figures import (
    COSTS,
    accuracy_charts,
    best_so_far,
    draw_best_so_far,
    test_interval,
)
from bench.report.inventory import inventory
from bench.report.marks import Mark, Phase, engine_marks, family_marks, interval_bar, learning_phases, sparkline
from bench.report.verdict import no_result, notices, savings, unseparated, verdict

REFRESH_S = 5
"""How often the page of a run that goes on loads itself again."""


OPEN_UP_TO = 12
"""A list of so many lines at most stands open; a longer one is folded."""

LISTED = 500
"""At most so many pictures of a kind are on the page: it stays small, and the split's file has them all."""


@dataclass(frozen=True)
class BoardRow:
    """A family on the leaderboard.

    Attributes:
        weights: What its chosen trial started from, or would have.
        rank: From 1; None where the family has no result, and `reason` says why.
        accuracy, low, high: Test accuracy and its 95 % interval.
        bar: The same as a picture.
        tied: Whether its interval overlaps the leader's.
        repeats: Test accuracy over other seeds, in words.
        states: How its trials ended, in words.
    """

    family: FamilyInfo
    weights: str
    mark: Mark
    rank: int | None = None
    trial: Trial | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    bar: Markup = field(default_factory=Markup)
    tied: bool = False
    repeats: str = ""
    reason: str = ""
    states: str = ""


@dataclass(frozen=True)
class TrialRow:
    """A trial in its family's table.

    Attributes:
        phases: The named phases of its training; empty where there is one without a name.
        saved_time_s: What the feature cache saved; None where the trial was answered from the record.
        notes: What a reader should know of it.
        frozen: What became of its frozen layers, phase by phase.
    """

    trial: Trial
    label: str
    chosen: bool
    curve: Markup
    phases: tuple[Phase, ...]
    time_s: float | None
    saved_time_s: float | None
    notes: tuple[str, ...]
    frozen: tuple[str, ...]


@dataclass(frozen=True)
class TrialTable:
    """All trials of a family, in the order in which they were started."""

    family: str
    label: str
    mark: Mark
    rows: tuple[TrialRow, ...]
    best: Trial | None
    states: str


def html(run: Run) -> str:
    """The page of a run, as a whole."""
    charts = accuracy_charts(run)
    searches = best_so_far(run)
    drawn = any(steps and steps[-1].best is not None for steps in searches.values())
    return (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            verdict=verdict(run),
            notices=notices(run),
            facts=facts(run),
            board=board(run),
            scale=board_scale(run),
            charts=charts,
            costs=COSTS,
            families=_legend(run),
            searches=searches,
            search_figure=draw_best_so_far(searches, engine_marks(run)) if drawn else None,
            engines=engine_marks(run),
            tables=trial_tables(run),
            two_phases=any(len(learning_phases(trial)) > 1 for trial in run.trials),
            savings=savings(run),
            failures=[trial for trial in run.trials if trial.state == FAIL],
            data=inventory(run.split, run.config),
            limits={"open": OPEN_UP_TO, "listed": LISTED},
            environment=environment_facts(run),
            configuration=json.dumps(run.config, indent=2, default=str, ensure_ascii=False),
            refresh_s=REFRESH_S if run.status == "running" else None,
            assets=_assets(with_plotly=bool(charts) or drawn),
        )
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """What a reader wants to know first of a run, as names and values."""
    split, environment, config = run.split, run.environment, run.config
    classes = text.listing(split.classes) if 0 < len(split.classes) <= 4 else f"{len(split.classes)} classes"
    engines = config.get("engines") or [study.engine for study in run.studies]
    parts = inventory(split, config).parts
    each = " for each engine" if len(engines) > 1 else ""
    hardware = [str(environment["cpu"])] if environment.get("cpu") else []
    hardware += [text.plural(int(environment["cores"]), "core")] if environment.get("cores") else []
    hardware += [str(gpu) for gpu in environment.get("gpus") or ()]
    return [
        ("Data", f"{split.source}: {classes}"),
        ("Pictures", " · ".join(f"{text.thousands(n)} {part}" for part, n in parts.items())),
        ("Budget", text.budget(config) + each),
        ("Engines" if len(engines) > 1 else "Engine", ", ".join(dict.fromkeys(engines)) or text.NOTHING),
        ("Seed", str(config.get("seed", text.NOTHING))),
        ("Took" if run.status != "running" else "So far", text.seconds(max(run.elapsed_s, 1))),
        ("Hardware", ", ".join(hardware) or text.NOTHING),
        ("Commit", _commit(str(environment.get("git_commit") or text.NOTHING))),
    ]


def environment_facts(run: Run) -> list[tuple[str, str]]:
    """The environment in full, as names and values: hardware and commit first, then versions."""
    known = {"cpu": "CPU", "cores": "Cores", "memory_gb": "Memory, GB", "gpus": "GPUs", "git_commit": "Commit"}
    known |= {"platform": "Platform", "python": "Python"}
    packages = run.environment.get("packages") or {}
    rest = {name: value for name, value in run.environment.items() if name not in known and name != "packages"}
    every = {title: run.environment.get(name) for name, title in known.items()} | rest | packages
    return [(name, _plain(value)) for name, value in every.items() if value]


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _commit(commit: str) -> str:
    return f"{commit[:-1]} (modified)" if commit.endswith("+") else commit


def board_scale(run: Run) -> tuple[float, float]:
    """The ends of the scale that the leaderboard's intervals share: whole tens of percent, up to 1."""
    lows = [low for trial in run.ranking() if (low := test_interval(trial)[1]) is not None]
    return min(max(int(10 * min(lows, default=0.0)) / 10, 0.0), 0.9), 1.0


def board(run: Run) -> list[BoardRow]:
    """One row a family: those with a result, best first, then the others with the reason."""
    looks, scale, ranking = family_marks(run), board_scale(run), run.ranking()
    known = {family.name: family for family in run.families}
    tied = unseparated(ranking)
    rows = []
    for rank, trial in enumerate(ranking, start=1):
        accuracy, low, high = test_interval(trial)
        mark = looks[trial.family]
        bar = Markup()
        if accuracy is not None and low is not None and high is not None:
            bar = interval_bar(mark, scale, accuracy, low, high)
        rows.append(
            BoardRow(
                known.get(trial.family, FamilyInfo(trial.family)),
                trial.weights,
                mark,
                rank,
                trial,
                accuracy,
                low,
                high,
                bar=bar,
                tied=trial in tied,
                repeats=_repeats(trial),
                states=text.states(each for each in run.trials if each.family == trial.family),
            )
        )
    ranked = {trial.family for trial in ranking}
    rest = [family for family in run.families if family.name not in ranked]
    return rows + [
        BoardRow(family, family.weights, looks[family.name], reason=no_result(run, family)) for family in rest
    ]


def trial_tables(run: Run) -> list[TrialTable]:
    """Every trial, by family."""
    curves = [value for trial in run.trials for phase in learning_phases(trial) for value in phase.values]
    scale = (min(curves, default=0.0), max(curves, default=1.0))
    tables = []
    for family, mark in family_marks(run).items():
        own = [trial for trial in run.trials if trial.family == family]
        if own:
            best = run.best(family)
            weights = next((each.weights for each in run.families if each.name == family), own[0].weights)
            label = text.label(best) if best else text.with_weights(family, weights)
            rows = tuple(_trial_row(trial, trial is best, mark, scale) for trial in own)
            tables.append(TrialTable(family, label, mark, rows, best, text.states(own)))
    return tables


def _trial_row(trial: Trial, chosen: bool, mark: Mark, scale: tuple[float, float]) -> TrialRow:
    phases = tuple(phase for phase in learning_phases(trial) if phase.name)
    time_s = trial.cost.total_time_s or None if trial.cost else None
    if time_s is None and trial.finished_s is not None and not trial.duplicate_of:
        time_s = trial.finished_s - trial.started_s
    notes = []
    if trial.known:
        notes.append("known configuration")
    if trial.duplicate_of:
        notes.append(f"answered from the record of {trial.duplicate_of}")
    if not trial.counted:
        notes.append("used no budget")
    if trial.failure:
        notes.append(trial.failure.kind)
    if trial.note:
        notes.append(trial.note)
    return TrialRow(
        trial,
        text.label(trial),
        chosen,
        sparkline(trial, mark, scale, _curve_title(trial)),
        phases,
        time_s,
        trial.cost.saved_time_s if trial.cost and not trial.duplicate_of else None,
        tuple(notes),
        tuple(map(text.frozen, trial.prefixes)),
    )


def _curve_title(trial: Trial) -> str:
    """A learning curve in words; "" where there is none."""
    phases = learning_phases(trial)
    values = [value for phase in phases for value in phase.values]
    if not values:
        return ""
    title = f"Validation accuracy by epoch: {text.percent(values[0])} to {text.percent(values[-1])}, "
    title += f"best {text.percent(max(values))} of {text.plural(len(values), 'epoch')}"
    parts = [f"{len(phase.values)} {text.one_line(phase.name)}" for phase in phases if phase.name]
    title += f": {', then '.join(parts)}" if parts else ""
    return title + (" (first fold)" if trial.folds else "")


def _repeats(trial: Trial) -> str:
    shares = [metrics.accuracy for metrics in trial.repeats]
    if not shares:
        return ""
    return f"{text.plural(len(shares), 'other seed')}: {text.interval(min(shares), max(shares))}"


def _legend(run: Run) -> list[tuple[str, Mark]]:
    """The families that the charts show, with the label that their weights demand."""
    looks = family_marks(run)
    shown = {
        trial.family: text.label(trial) for trial in run.trials if trial.state == COMPLETE and not trial.duplicate_of
    }
    return [(shown[family], looks[family]) for family in looks if family in shown]


# -- how a text becomes part of the page


def embed(data: object) -> Markup:
    """Plain data as JSON for a `<script type="application/json">`: nothing in it can end the element.

    `<`, `>` and `&` are written as `\\uXXXX`, and so is everything outside ASCII, U+2028 and U+2029 included
    (OWASP, Cross Site Scripting Prevention Cheat Sheet).
    """
    written = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return Markup(written)


def _finalize(value: Any) -> Any:
    """Applied to everything that a template prints, before it is escaped."""
    return text.clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (text.percent, text.interval, text.seconds, text.milliseconds, text.count, text.number, text.plural)
    environment.filters |= {word.__name__: word for word in words}
    environment.filters |= {
        "label": text.label,
        "random_weights": text.random_weights,
        "listing": text.listing,
        "validation": text.validation,
        "over_folds": text.over_folds,
        "one_line": text.one_line,
        "thousands": text.thousands,
        "embed": embed,
    }
    environment.globals |= {"nothing": text.NOTHING, "RUNNING": RUNNING, "test_interval": test_interval}
    return environment


@lru_cache(maxsize=2)
def _assets(with_plotly: bool) -> dict[str, Any]:
    """Stylesheet, scripts and the policy that lets those scripts run, and no others."""
    environment = _environment()

    def source(name: str) -> str:
        return environment.loader.get_source(environment, name)[0] if environment.loader else ""

    scripts = [source("page.js")]
    if with_plotly:
        from plotly.offline import get_plotlyjs

        scripts.insert(0, get_plotlyjs())
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return {
        "css": Markup(source("page.css")),
        "scripts": [Markup(script) for script in scripts],
        "policy": policy,
    }


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
