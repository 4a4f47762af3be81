"""The page: records in, one HTML text out. Everything it needs is inside it, and only its own script can run.

Templates escape every text by themselves (Jinja's autoescape), after `text.clean` took out what must not be seen.
Figures travel as JSON in data blocks, which no browser runs, and the Content-Security-Policy names the two scripts by
their hash: should something outside still get in as markup, it stays inert.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from bench.records import FAIL, RUNNING, Run
from bench.report import accuracy, leaderboard, reproduce, search, text, verdict
from bench.report.accuracy import COSTS
from bench.report.inventory import inventory

REFRESH_S = 5
"""How often the page of a run that goes on loads itself again."""

OPEN_UP_TO = 12
"""A list of so many lines at most stands open; a longer one is folded."""

LISTED = 500
"""At most so many pictures of a kind are on the page: it stays small, and the split's file has them all."""

SECTIONS: Mapping[str, Callable[[Run], Any]] = {
    "verdict": verdict.section,
    "leaderboard": leaderboard.section,
    "accuracy": accuracy.section,
    "search": search.section,
    "data": lambda run: inventory(run.split, run.config),
    "failures": lambda run: [trial for trial in run.trials if trial.state == FAIL],
    "reproduce": reproduce.section,
}
"""The page from top to bottom: what `sections/NAME.html` is given as `section`; NAME.css and NAME.js are its own."""


def html(run: Run) -> str:
    """The page of a run, as a whole."""
    environment = _environment()
    about = {
        "run": run,
        "notices": verdict.notices(run),
        "sections": {name: section(run) for name, section in SECTIONS.items()},
        "refresh_s": REFRESH_S if run.status == "running" else None,
    }
    body = environment.get_template("body.html").render(about)
    assets = _assets(with_plotly="data-chart=" in body)
    return environment.get_template("page.html").render(about, body=Markup(body), assets=assets)


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
    environment.globals |= {
        "nothing": text.NOTHING,
        "RUNNING": RUNNING,
        "limits": {"open": OPEN_UP_TO, "listed": LISTED},
        "COSTS": COSTS,
        "test_interval": verdict.test_interval,
    }
    return environment


@lru_cache(maxsize=2)
def _assets(with_plotly: bool) -> dict[str, Any]:
    """Stylesheet, scripts and the policy that lets those scripts run, and no others."""
    scripts = _sources("js")
    if with_plotly:
        from plotly.offline import get_plotlyjs

        scripts.insert(0, get_plotlyjs())
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return {
        "css": Markup("\n".join(_sources("css"))),
        "scripts": [Markup(script) for script in scripts],
        "policy": policy,
    }


def _sources(ending: str) -> list[str]:
    """The page's own file of that kind, then those of its sections, in their order."""
    folder = resources.files("bench.report") / "templates"
    files = [folder / f"page.{ending}", *(folder / "sections" / f"{name}.{ending}" for name in SECTIONS)]
    return [file.read_text(encoding="utf-8") for file in files if file.is_file()]


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
