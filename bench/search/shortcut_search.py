"""The test of the data for shortcuts, before the first trial: whoever knows of one may not want the others."""

from __future__ import annotations

from collections.abc import Callable

from bench import cache
from bench.records import Shortcuts
from bench.report.sections.shortcut_notice import shortcut
from bench.runs.store import RunFolder
from bench.search import spaces
from bench.search.families import run_all
from bench.search.progress import Progress
from bench.training.messages import ShortcutJob
from bench.workers import Pool, Stop

STAGE = "looking for shortcuts in the pictures' metadata"


def look_for_shortcuts(
    folder: RunFolder, pool: Pool, stop: Stop, progress: Progress, warn: Callable[[str], None]
) -> None:
    """Record what a classifier gets right without the pictures, and warn of a shortcut.

    Every run is tested with the built-in family `metadata`, whether it searches that family or not. A test that fails
    is a warning.
    """
    run = folder.run
    job = ShortcutJob(
        id="shortcuts",
        timeout_s=run.config.trial_timeout_s,
        path=str(spaces.BUILT_IN / "metadata.py"),
        class_names=run.split.classes,
        input_sizes=run.split.input_sizes,
        weights=run.config.weights,
        seed=run.config.seed,
        manifest=str(run.manifest.absolute()),
        cache=str(cache.folder()),
    )
    for outcome in run_all(pool, [job], progress, STAGE, stop):
        if isinstance(outcome.result, Shortcuts):
            folder.tested(outcome.result)
        elif outcome.failure and not stop.reason():
            warn(f"the data could not be tested for shortcuts: {outcome.failure.name}: {outcome.failure.message}")
    if noticed := shortcut(folder.run):
        progress.warning(str(noticed))
