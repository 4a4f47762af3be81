"""Samples: a few pictures of every class, as the section on the data shows them beside its account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import Run
from bench.report.album import Album, Picture
from bench.report.inventory import Inventory, inventory
from bench.runs.thumbnails import Thumbnail

MOST_BYTES = 200_000
"""The samples take at most so much of the page."""


@dataclass(frozen=True)
class ClassSamples:
    """Training pictures of one class."""

    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Data:
    """The section.

    Attributes:
        inventory: The account of the pictures.
        samples: Some of each class, in the order of the inventory's rows; empty where the run has no thumbnails.
    """

    inventory: Inventory
    samples: Sequence[ClassSamples]


def section(run: Run) -> Data:
    """The account of a run's pictures, with samples."""
    about = inventory(run.split, run.config)
    return Data(about, samples(run, [row.name for row in about.rows]))


def samples(run: Run, names: Sequence[str]) -> list[ClassSamples]:
    """The training pictures of a run that have a thumbnail, class by class.

    Args:
        run: The run.
        names: Its classes, in the order that is wanted.
    """
    album = Album(run, MOST_BYTES)
    of_class: dict[str, list[Thumbnail]] = defaultdict(list)
    for each in album.thumbnails.values():
        if each.part == "train":
            of_class[run.split.classes[each.label]].append(each)
    shown = [(name, tuple(album.picture(each.sha256) for each in of_class[name])) for name in names]
    return [ClassSamples(name, own) for name, pictures in shown if (own := tuple(p for p in pictures if p.source))]
