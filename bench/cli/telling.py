"""Whether a command tells what goes on while it works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.search.progress import Progress


@contextlib.contextmanager
def told(silent: bool) -> Iterator[Progress]:
    """Tells what goes on, and leaves the terminal in order."""
    if silent:
        yield Progress()
        return
    from bench.cli.console import ConsoleProgress

    with contextlib.closing(ConsoleProgress()) as progress:
        yield progress
