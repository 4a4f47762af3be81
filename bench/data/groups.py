"""Groups: pictures that are not independent, e.g. of one patient or one video, and must stay in one part.

`--group-by` names them. Without it, names that repeat are suggested as groups, since models recognise a patient or an
object that they were trained on.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from bench.data import near_duplicates
from bench.data.sources import ListedPicture
from bench.data.split import UsablePicture
from bench.errors import DataError
from bench.records import SuggestedGroups

PATTERNS = (r"([^/ _.-]+)[^/]*$", r"([^/]+?)(?:[ _.-]+\d+|[ _.-]*\(\d+\)|(?<=\D)\d+)\.[^./]+$", r"([^/]+)/[^/]+$")
"""Patterns of groups in paths: the first word of the name, the name without its running number, the folder."""

LEAST_GROUPS = 5
"""Minimum number of suggested groups with several pictures; there must also be more than two for each class."""

LEAST_REPEATED = 0.5
"""Minimum share of the pictures that a suggestion puts into groups with several pictures in one folder."""

LARGEST_SHARE = 0.2
"""Maximum share of the pictures in one suggested group."""

EXAMPLES = 3
"""Number of pictures that a suggestion shows."""


def names(pattern: str, entries: Sequence[ListedPicture]) -> dict[str, str]:
    """Find the name of every picture's group, by id: that of its table, else by a regular expression for its path.

    The name is the first group of the expression, or the whole match. A picture without a name is alone.

    Raises:
        DataError: It is no regular expression, or no path matches.
    """
    by_id = {entry.id: entry.group for entry in entries if entry.group}
    if by_id:
        return by_id
    try:
        by_id = by_pattern(pattern, [entry.id for entry in entries])
    except re.error as error:
        raise DataError(f"group-by {pattern!r}: no regular expression ({error}), and no column of a table") from None
    if not by_id:
        raise DataError(
            f"group-by {pattern!r}: matches no path, e.g. {entries[0].id!r}; must be a regular expression whose first "
            r"group names what stays together, as '(\d+)_', or a column of the table"
        )
    return by_id


def by_pattern(pattern: str, ids: Iterable[str]) -> dict[str, str]:
    """Return the names of the groups by id, for those ids that match; see `names`."""
    matches = {item_id: match for item_id in ids if (match := re.search(pattern, item_id))}
    return {item_id: next(filter(None, match.groups()), match[0]) for item_id, match in matches.items()}


def joined(pictures: Sequence[UsablePicture], names: Mapping[str, str]) -> tuple[UsablePicture, ...]:
    """Join groups by name with those of near duplicates, including those connected through others.

    Args:
        names: The group's name by a picture's id; pictures without one are in no group by name.
    """
    first: dict[tuple[str, str], int] = {}
    links = [
        (row, first.setdefault(key, row))
        for row, picture in enumerate(pictures)
        for key in (("name", names.get(picture.id, "")), ("alike", picture.group))
        if key[1]
    ]
    joined = list(pictures)
    for rows in near_duplicates.joined(links):
        group = min(pictures[row].sha256 for row in rows) if len(rows) > 1 else ""
        for row in rows:
            joined[row] = replace(pictures[row], group=group)
    return tuple(joined)


def suggest(pictures: Sequence[UsablePicture]) -> SuggestedGroups | None:
    """Suggest groups by names that repeat: `0129.png` and `0129_Uhm.png`, or `00001684_003.png`; None without any.

    A pattern must put enough pictures into small groups that are not the classes. Names repeat within a folder: numbers
    that start again in every folder are not a repetition.
    """
    least = max(LEAST_GROUPS, 2 * len({picture.label for picture in pictures}) + 1)
    for pattern in PATTERNS:
        by_id = by_pattern(pattern, [picture.id for picture in pictures])
        groups: dict[str, list[str]] = defaultdict(list)
        for item_id, name in by_id.items():
            groups[name].append(item_id)
        in_folder = Counter((name, PurePosixPath(item_id).parent) for item_id, name in by_id.items())
        repeated = {name: count for (name, _), count in in_folder.items() if count > 1}
        enough = sum(count for count in in_folder.values() if count > 1) >= LEAST_REPEATED * len(pictures)
        if enough and len(repeated) >= least and max(map(len, groups.values())) <= LARGEST_SHARE * len(pictures):
            example = sorted(groups[max(repeated, key=lambda name: (repeated[name], name))])[:EXAMPLES]
            return SuggestedGroups(pattern, len(groups), len(pictures), tuple(example))
    return None
