"""Stylesheet and scripts of a page, and the policy that allows these scripts and no others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

from markupsafe import Markup

INLINE, DIRECTORY, CDN = "inline", "directory", "cdn"
"""Locations of Plotly's script: in the page, in a file beside it, or on Plotly's CDN."""

PLOTLY_FILE = "plotly.min.js"
"""Name of the file beside the page, as in Plotly's own `include_plotlyjs="directory"`."""


@dataclass(frozen=True)
class Script:
    """A script of the page: its text, or the address it is loaded from.

    Attributes:
        integrity: Hash of the loaded file (W3C, Subresource Integrity); empty for a file beside the page, because
            browsers refuse such a hash for files from disk.
        waits: True for a script stored as plain text, which the page's own script starts later.
    """

    text: Markup = field(default_factory=Markup)
    source: str = ""
    integrity: str = ""
    waits: bool = False

    @property
    def allowed(self) -> str:
        """The source expression that allows it in the policy (W3C, Content Security Policy Level 3, 2.3.1)."""
        if not self.source:
            return f"'sha256-{_sha256(self.text)}'"
        return self.source if "://" in self.source else "'self'"


@dataclass(frozen=True)
class Assets:
    """Stylesheet and scripts of a page; `policy` is the value of its Content-Security-Policy."""

    css: Markup
    scripts: tuple[Script, ...]
    policy: str


@lru_cache(maxsize=8)
def assets(files: tuple[str, ...], plotlyjs: str | None) -> Assets:
    """Collect the NAME.css and NAME.js in `templates/` that exist for these `files`.

    `plotlyjs` is INLINE, DIRECTORY or CDN; None for a page without charts.
    """
    scripts = [Script(Markup(source)) for source in _sources(files, "js")]
    if plotlyjs:
        scripts.append(_plotly(plotlyjs))  # last, so that the page works while the browser still reads its 4.7 MB
    policy = (
        f"default-src 'none'; script-src {' '.join(script.allowed for script in scripts)}; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Assets(Markup("\n".join(_sources(files, "css"))), tuple(scripts), policy)


def plotly_text() -> str:
    """Plotly's script, 4.7 MB."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text


def _plotly(plotlyjs: str) -> Script:
    if plotlyjs == INLINE:
        return Script(Markup(plotly_text()), waits=True)  # it takes a second to start
    if plotlyjs == DIRECTORY:
        return Script(source=PLOTLY_FILE)
    from plotly.offline import get_plotlyjs_version

    address = f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
    return Script(source=address, integrity=f"sha256-{_sha256(plotly_text())}")


def _sources(files: Sequence[str], ending: str) -> list[str]:
    paths = [resources.files("bench.report") / "templates" / f"{file}.{ending}" for file in files]
    return [file.read_text(encoding="utf-8") for file in paths if file.is_file()]


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
