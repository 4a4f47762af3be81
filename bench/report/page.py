"""The page: records in, one HTML text out. Everything it needs is inside it, and only its own script can run.

Templates escape every text by themselves (Jinja's autoescape), after `text.clean` took out what must not be seen.
Figures travel as JSON in data blocks, which no browser runs, and the Content-Security-Policy names the two scripts by
their hash: should something outside still get in as markup, it stays inert.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jinja2
from markupsafe import Markup

from bench import text
from bench.records import RUNNING, Run
from bench.report import photos
from bench.report.assets import INLINE, Assets, assets
from bench.report.links import anchor
from bench.report.sections import (
    cost_charts,
    failures,
    leaderboard,
    models,
    pairwise,
    recommendation,
    reproduce,
    search_history,
    verdict,
)
from bench.report.sections.cost_charts import COSTS

REFRESH_S = 5
"""How often the page of a run that goes on loads itself again."""

OPEN_UP_TO = 12
"""A list of so many lines at most stands open; a longer one is folded."""

LISTED = 500
"""At most so many pictures of a kind are on the page: it stays small, and the split's file has them all."""

SECTIONS: Mapping[str, Callable[[Run], Any]] = {
    "verdict": verdict.section,
    "leaderboard": leaderboard.section,
    "cost_charts": cost_charts.section,
    "recommendation": recommendation.section,
    "pairwise": pairwise.section,
    "search_history": search_history.section,
    "models": models.section,
    "data": photos.section,
    "failures": failures.section,
    "reproduce": reproduce.section,
}
"""The page from top to bottom: what `sections/NAME.html` is given as `section`; NAME.css and NAME.js are its own."""


def html(run: Run, plotlyjs: str = INLINE) -> str:
    """The page of a run, as a whole; `plotlyjs` says where it has Plotly from (`assets.py`)."""
    about: dict[str, Any] = {
        "run": run,
        "notices": verdict.notices(run),
        "sections": {name: section(run) for name, section in SECTIONS.items()},
        "refresh_s": REFRESH_S if run.status == "running" else None,
    }
    body = environment().get_template("body.html").render(about)
    files = ("page", *(f"sections/{name}" for name in SECTIONS))
    title = f"{about['sections']['verdict'].verdict.headline} · {run.path.name}"
    return document(title, body, assets(files, plotlyjs if "data-chart=" in body else None), about["refresh_s"])


def document(title: str, body: str, dress: Assets, refresh_s: int | None = None) -> str:
    """A page from its rendered body: the head that all pages have, and what they are dressed in."""
    page = environment().get_template("page.html")
    return page.render(title=title, body=Markup(body), assets=dress, refresh_s=refresh_s)


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
def environment() -> jinja2.Environment:
    """The templates, with the filters that they use."""
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
        "anchor": anchor,
        "label": text.label,
        "random_weights": text.random_weights,
        "listing": text.listing,
        "validation": text.validation,
        "mean_of_seeds": text.mean_of_seeds,
        "over_folds": text.over_folds,
        "one_line": text.one_line,
        "thousands": text.thousands,
        "points": text.points,
        "p_value": text.p_value,
        "megabytes": text.megabytes,
        "embed": embed,
    }
    environment.globals |= {
        "nothing": text.NOTHING,
        "RUNNING": RUNNING,
        "limits": {"open": OPEN_UP_TO, "listed": LISTED},
        "COSTS": COSTS,
    }
    return environment
