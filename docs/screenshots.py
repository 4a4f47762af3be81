"""Takes the README's pictures of a run's page: light, dark, and on a phone.

    python -m bench run --budget 20 --out reports/shown
    python docs/screenshots.py reports/shown

It writes leaderboard-light.png, leaderboard-dark.png and leaderboard-phone.png beside itself, each below 250 kB. It
needs Playwright and Pillow (`pip install --group test`) and a Chromium on the PATH; nothing is downloaded. The page is
taken as it is, `python -m bench report RUN` draws it again.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MOST_BYTES = 250_000

LEADERBOARD_ENDS = """
() => Math.ceil(document.getElementById("leaderboard").getBoundingClientRect().bottom + scrollY)
"""


@dataclass(frozen=True)
class Shot:
    """How the page is looked at: from its top to the end of the leaderboard.

    Attributes:
        width: In CSS pixels, of which each is `scale` pixels of the picture.
        most: It is cut off below so many CSS pixels.
    """

    name: str
    theme: str
    width: int
    most: int
    scale: int = 1
    phone: bool = False


SHOTS = (
    Shot("light", "light", 1280, most=2000),
    Shot("dark", "dark", 1280, most=2000),
    Shot("phone", "light", 390, most=1700, scale=2, phone=True),
)


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="See the beginning of this file.", allow_abbrev=False
    )
    parser.add_argument("run", type=Path, help="a run folder with its report.html")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the pictures go: %(default)s")
    given = parser.parse_args(arguments)
    page = given.run / "report.html"
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not page.is_file():
        parser.error(f"{page}: there is no such page; `python -m bench report {given.run}` draws it")
    if browser is None:
        parser.error(f"no browser on the PATH; one of {', '.join(BROWSERS)} is needed")
    for path in take(page, given.out, browser):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
    return 0


def take(page: Path, out: Path, executable: str) -> list[Path]:
    """Takes all pictures of a page.

    Args:
        page: The HTML file.
        out: A folder.
        executable: A Chromium.

    Raises:
        ValueError: A picture cannot be made small enough.
    """
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for shot in SHOTS:
            paths.append(out / f"leaderboard-{shot.name}.png")
            paths[-1].write_bytes(small(_picture(browser, page, shot)))
        browser.close()
    return paths


def small(picture: bytes) -> bytes:
    """A PNG with as many colours as `MOST_BYTES` allow, 256 at most.

    Raises:
        ValueError: It stays larger with 32 colours.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32):
        written = io.BytesIO()
        reduced = image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(written, "PNG", optimize=True)
        if written.tell() < MOST_BYTES:
            return written.getvalue()
    raise ValueError(f"a picture of {image.width} x {image.height} pixels takes {written.tell()} bytes in 32 colours")


def _picture(browser: Any, page: Path, shot: Shot) -> bytes:
    context = browser.new_context(
        viewport={"width": shot.width, "height": 900},
        device_scale_factor=shot.scale,
        color_scheme=shot.theme,
        reduced_motion="reduce",
        has_touch=shot.phone,
        is_mobile=shot.phone,
        offline=True,
    )
    tab = context.new_page()
    tab.goto(page.absolute().as_uri())
    height = min(tab.evaluate(LEADERBOARD_ENDS), shot.most)
    area = {"x": 0, "y": 0, "width": shot.width, "height": height}
    picture: bytes = tab.screenshot(full_page=True, clip=area)
    context.close()
    return picture


if __name__ == "__main__":
    sys.exit(main())
