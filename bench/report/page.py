"""The page of a run as one HTML text, in which only the page's own scripts can run.

`text.clean` makes every text safe to display, then Jinja escapes it. Figures are JSON in data blocks, which browsers do
not execute. The Content-Security-Policy lists the scripts by their hash, so that markup from outside stays inert.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jinja2
from markupsafe import Markup

from bench import text
from bench.records import Run
from bench.report import photos
from bench.report.assets import INLINE, Assets, assets
from bench.report.figures import anchor
from bench.report.sections import (
    budget,
    cost_charts,
    differences,
    doubtful_labels,
    failures,
    further_sets,
    leaderboard,
    models,
    more_pictures,
    notices,
    recommendation,
    reproduce,
    screened,
    search_history,
    slices,
    verdict,
)
from bench.report.sections.feature_cache import savings
from bench.report.sections.learning_curves import learning_phases, sparkline
from bench.report.styles import engine_marks, family_marks, interval_bar

REFRESH_S = 5
"""Seconds after which the page of a running run reloads."""

OPEN_UP_TO = 12
"""Lists with more lines are folded."""

LISTED = 500
"""Maximum number of pictures listed per kind; `split.json` has all."""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: Its address on the page.
        title: Its heading; `{Metric}` stands for the name of the run's metric, `{most}` for its superlative.
        build: Computes what NAME.html receives as `section`. Its attribute `summary` is the line beside the heading of
            the folded section; a section with an empty summary has nothing to say and is left out.
    """

    id: str
    title: str
    build: Callable[[Run], Any]


TOP: Mapping[str, Section] = {
    "verdict": Section("verdict", "", verdict.verdict),
    "leaderboard": Section("leaderboard", "Leaderboard", leaderboard.section),
    "cost_charts": Section("accuracy", "{Metric} and cost", cost_charts.section),
}
"""The first screen. NAME.html is the template, NAME.css and NAME.js are its stylesheet and script."""

FOLDED: Mapping[str, Section] = {
    "notices": Section("notices", "Notices", notices.section),
    "recommendation": Section("ship", "What to ship within limits", recommendation.section),
    "differences": Section("differences", "Against the {most}", differences.section),
    "further_sets": Section("further", "On other pictures", further_sets.section),
    "search_history": Section("search", "Search", search_history.section),
    "slices": Section("hyperparameters", "Hyperparameters", slices.section),
    "budget": Section("budget", "Budget", budget.section),
    "models": Section("models", "Models", models.section),
    "doubtful_labels": Section("labels", "Labels to look at", doubtful_labels.section),
    "more_pictures": Section("more-pictures", "More pictures or a bigger model?", more_pictures.section),
    "data": Section("data", "Data", photos.section),
    "failures": Section("failures", "Failures", failures.section),
    "reproduce": Section("reproduce", "How to reproduce", reproduce.section),
}
"""The sections below it, each folded to its title and summary."""


def html(run: Run, plotlyjs: str = INLINE) -> str:
    """Render the page of a run; `plotlyjs` is INLINE, DIRECTORY or CDN (`assets.py`)."""
    words = {"Metric": text.metric_heading(run.metric), "most": text.most(run.metric)}
    top, folded = (
        {name: (replace(part, title=part.title.format(**words)), part.build(run)) for name, part in parts.items()}
        for parts in (TOP, FOLDED)
    )
    top = {name: (part, section) for name, (part, section) in top.items() if section}
    folded = {name: (part, section) for name, (part, section) in folded.items() if section.summary}
    if "failures" in folded and folded["failures"][1].all_failed:
        folded = {"failures": folded["failures"]} | folded
    refresh_s = REFRESH_S if run.status == "running" else None
    body = environment().get_template("body.html").render(run=run, top=top, folded=folded, refresh_s=refresh_s)
    files = ("page", *(f"sections/{name}" for name in (*TOP, *FOLDED)))
    title = f"{top['verdict'][1].headline} · {run.path.name}"
    return document(title, body, assets(files, plotlyjs if "data-chart=" in body else None), refresh_s)


def document(title: str, body: str, files: Assets, refresh_s: int | None = None) -> str:
    """Wrap a rendered body into a whole page with its stylesheet and scripts."""
    page = environment().get_template("page.html")
    return page.render(title=title, body=Markup(body), assets=files, refresh_s=refresh_s)


# -- templates


def embed(data: object) -> Markup:
    """Encode plain data as JSON for a `<script type="application/json">`, without anything that could end the element.

    `<`, `>`, `&` and everything outside ASCII, U+2028 and U+2029 included, are written as `\\uXXXX` (OWASP, Cross Site
    Scripting Prevention Cheat Sheet).
    """
    encoded = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return Markup(encoded)


def _finalize(value: Any) -> Any:
    """Clean what a template prints, before it is escaped."""
    return text.clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


FILTERS = (
    "percent interval figure figures gap metric_name metric_heading most seconds milliseconds count number plural "
    "label random_weights listing validation mean_of_seeds parameters over_folds one_line thousands "
    "p_value megabytes frozen"
)
"""Functions of `bench.text` that the templates use as filters."""


FUNCTIONS: Sequence[Callable[..., object]] = (
    anchor,
    embed,
    interval_bar,
    leaderboard.remarks,
    learning_phases,
    screened.estimate,
    sparkline,
)
"""The other filters."""


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates with their filters."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(text, name) for name in FILTERS.split()}
    environment.filters |= {function.__name__: function for function in FUNCTIONS}
    environment.globals |= {
        "nothing": text.NOTHING,
        "limits": {"open": OPEN_UP_TO, "listed": LISTED, "failures": failures.GROUPS},
        "facts": notices.facts,
        "savings": savings,
        "notices": notices.notices,
        "family_marks": family_marks,
        "engine_marks": engine_marks,
    }
    return environment
