"""Differences between a stopped run and what a resumed one would train on now."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

from bench import data, text
from bench.data import Dataset
from bench.errors import RunFolderError
from bench.records import Run
from bench.runs import environment
from bench.search.families import Family

ACCEPT = "--accept-changes"


def check_unchanged(run: Run, dataset: Dataset, prepared: Sequence[Family], accept: bool) -> list[str]:
    """Check that pictures, split, weights, families' files and packages are those of the run.

    Returns:
        The accepted differences, for the page.

    Raises:
        RunFolderError: There is a difference; those of files and packages can be accepted.
    """
    refused = list(_of_pictures(run, dataset)) + list(_of_weights(run, prepared))
    if refused:
        raise RunFolderError(f"{run.path}: cannot be resumed, {text.listing(refused, 5)}")
    changed = list(_of_files(run, prepared)) + list(_of_packages(run))
    if changed and not accept:
        raise RunFolderError(f"{run.path}: not resumed, {text.listing(changed, 5)}; {ACCEPT} goes on all the same")
    return changed


def _of_pictures(run: Run, dataset: Dataset) -> Iterator[str]:
    if dataset.sha256 == run.split.sha256:
        return
    before = {item.id: item for item in data.load(run.manifest).items}
    now = {item.id: item for item in dataset.items}
    for sign, names in (("new", now.keys() - before.keys()), ("missing", before.keys() - now.keys())):
        if names:
            yield f"{text.plural(len(names), 'picture')} {sign}, e.g. {text.one_line(min(names))}"
    both = sorted(now.keys() & before.keys())
    if changed := [name for name in both if now[name].sha256 != before[name].sha256]:
        yield f"{text.plural(len(changed), 'picture')} changed, e.g. {text.one_line(changed[0])}"
    elif now.keys() == before.keys():
        yield "the split of the pictures changed"


def _of_weights(run: Run, prepared: Sequence[Family]) -> Iterator[str]:
    before = {info.name: info for info in run.families}
    for family in prepared:
        info = before.get(family.name, family.info)
        if (info.weights, info.skipped) != (family.info.weights, family.info.skipped):
            was, now = (each.skipped or each.weights or "none" for each in (info, family.info))
            yield f"the weights of {family.name} were {was} and are {now}"


def _of_files(run: Run, prepared: Sequence[Family]) -> Iterator[str]:
    before, now = ({info.name: info for info in infos} for infos in (run.families, [f.info for f in prepared]))
    for family in prepared:
        if family.name not in before:
            yield f"the family {family.name} is new"
        elif before[family.name].sha256 not in ("", family.info.sha256):
            yield f"{family.path} or a _*.py next to it changed"
    yield from (f"the family {name} is missing" for name in before.keys() - now.keys())


def _of_packages(run: Run) -> Iterator[str]:
    now = {"python": platform.python_version(), **environment.packages()}
    before = {"python": run.environment.get("python", ""), **run.environment.get("packages", {})}
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"{name} was {before.get(name) or 'not installed'} and is {now.get(name) or 'not installed'}"
