"""A page in a real browser, offline and watched: what it says on its console, what it asks for, what it may not do."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
OWN = {"file", "data", "blob"}
"""Where a page may have things from: a blob is made by its own script."""

VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
});
"""


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """The system's Chromium; skips where it is missing, and downloads nothing."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"no browser on the PATH: one of {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: Browser, file: Path, fragment: str = "", script: str = "", **options: Any) -> Iterator[Page]:
    """A page from disk, in a fresh profile; at the end it must have had no problem.

    Args:
        file: The HTML file.
        fragment: `location.hash` to begin with, with its `#`.
        script: Runs before the page's own scripts.
        options: Of `Browser.new_context`: color_scheme, viewport, java_script_enabled, ….
    """
    context = browser.new_context(offline=True, **options)
    problems = watched(context)
    for each in (VIOLATIONS, script):
        context.add_init_script(each)
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(file.absolute().as_uri() + fragment)
    yield page
    context.close()
    assert problems == []


def watched(context: BrowserContext) -> list[str]:
    """Everything that no page of ours does: it grows while the context is used."""
    problems: list[str] = []

    def note(what: str, text: str) -> None:
        problems.append(f"{what}: {text}")

    context.on("console", lambda message: message.type in ("error", "warning") and note(message.type, message.text))
    context.on("weberror", lambda raised: note("exception", str(raised.error)))
    context.on("request", lambda asked: urlsplit(asked.url).scheme in OWN or note("request", asked.url))
    context.on("dialog", lambda dialog: (note("dialog", dialog.message), dialog.dismiss()))
    return problems
