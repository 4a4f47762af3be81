"""Take the README's pictures of a run's page: light, dark, and on a phone.

    python -m bench run --budget 20 --out reports/shown
    python docs/screenshots.py reports/shown

It writes leaderboard-light.png, leaderboard-dark.png and leaderboard-phone.png beside itself, each below 250 kB. It
needs Playwright and Pillow (`pip install --group test`) and a Chromium on the PATH; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MOST_BYTES = 250_000

LEADERBOARD_ENDS = """
() => Math.ceil(document.getElementById("leaderboard").getBoundingClientRect().bottom + scrollY)
"""

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 900}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
SHOTS: dict[str, tuple[dict[str, Any], int]] = {
    "light": ({**DESKTOP, "color_scheme": "light"}, 2000),
    "dark": ({**DESKTOP, "color_scheme": "dark"}, 2000),
    "phone": ({**PHONE, "color_scheme": "light"}, 1700),
}
"""By name: options of the browser's context, and the height in CSS pixels at which the picture is cut off."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, help="a run folder with its report.html")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="their folder; default %(default)s")
    options = parser.parse_args(arguments)
    page = options.run / "report.html"
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not page.is_file():
        parser.error(f"{page}: there is no such page; `python -m bench report {options.run}` draws it")
    if browser is None:
        parser.error(f"no browser on the PATH; one of {', '.join(BROWSERS)} is needed")
    options.out.mkdir(parents=True, exist_ok=True)
    for name, picture in take(page, browser).items():
        path = options.out / f"leaderboard-{name}.png"
        path.write_bytes(small(picture))
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
    return 0


def take(page: Path, executable: str) -> dict[str, bytes]:
    """Take the pictures of a page as PNG, by name, from its top to the end of the leaderboard, with this Chromium."""
    from playwright.sync_api import sync_playwright

    pictures = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name, (options, most) in SHOTS.items():
            context = browser.new_context(**options, reduced_motion="reduce", offline=True)
            tab = context.new_page()
            tab.goto(page.absolute().as_uri())
            height = min(tab.evaluate(LEADERBOARD_ENDS), most)
            area = {"x": 0, "y": 0, "width": options["viewport"]["width"], "height": height}
            pictures[name] = tab.screenshot(full_page=True, clip=area)
        browser.close()
    return pictures


def small(picture: bytes) -> bytes:
    """A PNG with as many colours as `MOST_BYTES` allow: all of them, or 256 at most.

    Raises:
        ValueError: It stays larger with 32 colours.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (None, 256, 128, 64, 32):
        written = io.BytesIO()
        reduced = image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) if colours else image
        reduced.save(written, "PNG", optimize=True)
        if written.tell() < MOST_BYTES:
            return written.getvalue()
    raise ValueError(f"a picture of {image.width} x {image.height} pixels takes {written.tell()} bytes in 32 colours")


if __name__ == "__main__":
    sys.exit(main())
