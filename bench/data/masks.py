"""Masks beside pictures: segmentations whose shapes would give the class away.

A name raises the suspicion, the pixels decide: photographs of people with masks may be called `7_mask.jpg`, and a set
of scanned letters may be two-valued as a whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from functools import cache
from posixpath import splitext

import numpy as np

from bench.data.pictures import Pixels

MAX_COLOURS = 32
"""Maximum number of colours of a mask. A photograph of 48 by 48 pixels has hundreds."""

LEAST_COVERED = 0.9
"""Minimum share of a grey mask's pixels that are near one of two levels: JPEG blurs the edges of masks, and resizing
does."""

NEAR = 16
"""Maximum distance of such pixels from their level."""

_WORD = "masks?|gt|ground[ _-]?truths?|annotations?|seg(?:mentation)?s?|labels?|trimaps?"
_NAME = re.compile(rf".+[ _.-](?:{_WORD})(?:[ _-]?\d+)?", re.IGNORECASE | re.DOTALL)


@cache
def is_word(name: str) -> bool:
    """Return whether a folder's name says that it holds masks."""
    return re.fullmatch(_WORD, name, re.IGNORECASE) is not None


def suspects(ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Select the pictures that may be masks by their paths.

    Returns:
        For each, the pictures of the same folder and stem (`7.jpg` beside `7.png`); none if a word of its path says so:
        `7_mask_1.png`, `masks/7.png`.
    """
    stems = [splitext(item_id)[0] for item_id in ids]
    hashes, counts = np.unique(np.fromiter(map(hash, stems), np.int64, len(stems)), return_counts=True)
    repeated = set(hashes[counts > 1].tolist())  # a dictionary of all stems would take much memory
    twins: dict[str, list[str]] = defaultdict(list)
    partners: dict[str, tuple[str, ...]] = {}
    for item_id, stem in zip(ids, stems, strict=True):
        *folders, name = stem.split("/")
        if hash(stem) in repeated:
            twins[stem].append(item_id)
        if _NAME.fullmatch(name) or any(map(is_word, folders)):
            partners[item_id] = ()
    for same in twins.values():
        for item_id in same if len(same) > 1 else ():
            partners.setdefault(item_id, tuple(other for other in same if other != item_id))
    return partners


def is_flat(pixels: Pixels) -> bool:
    """Return whether a picture has the few colours of a mask, or is grey and nearly two-valued."""
    step = max(1, min(pixels.shape[:2]) // 64)
    sample = pixels[::step, ::step].reshape(-1, 3).astype(np.int32)
    counts, covered = np.bincount(sample[:, 1], minlength=256), 0
    if np.count_nonzero(counts) <= MAX_COLOURS and len(np.unique(sample @ (1, 256, 65536))) <= MAX_COLOURS:
        return True
    for _ in range(2):
        level = int(counts.argmax())
        near = slice(max(0, level - NEAR), level + NEAR + 1)
        covered += int(counts[near].sum())
        counts[near] = 0
    grey = int(np.count_nonzero(np.abs(sample[:, 0] - sample[:, 2]) <= NEAR))
    return min(covered, grey) >= LEAST_COVERED * len(sample)


def select(suspicious: Mapping[str, tuple[str, ...]], ids: Set[str], flat: Set[str]) -> dict[str, str]:
    """Select the masks among pictures that decode.

    Args:
        suspicious: The result of `suspects`.
        ids, flat: All pictures, and those for which `is_flat` is true.

    Returns:
        The masks, each with the picture of the same stem, or "". A picture with a twin is a mask if that is not flat;
        one that a word gives away, if most of the others are not flat.
    """
    by_word = {item_id for item_id, others in suspicious.items() if not others and item_id in flat}
    if 2 * (len(flat) - len(by_word)) >= len(ids) - len(by_word):
        by_word = set()
    selected = dict.fromkeys(by_word, "")
    for item_id, others in suspicious.items():
        ordinary = [other for other in others if other in ids and other not in flat]
        if item_id in flat and ordinary:
            selected[item_id] = ordinary[0]
    return selected
