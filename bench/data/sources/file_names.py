"""Classes in the file names of pictures: one pattern for all names, chosen by what repeats, or `--label-from`."""

# With a million names, path objects would take most of the time.
# ruff: noqa: PTH122

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from os.path import splitext

SUFFIXES = frozenset(
    ".avif .bmp .gif .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
"""Suffixes of pictures, for files outside class folders."""

PATTERNS = (
    (r"(\d{0,2}[^\W\d_].*?)(?:[\W_]+|(?<=[^\W\d_]))\d+\)?", "the text before the last number"),  # cat.0 cat1 cat_(4)
    (r"[^\W\d_]*\d+[\W_]+([^\W\d_].*)", "the text after the first number"),  # 3_cat 000000-num7 exp3_num_1
    (r"[^\W\d_]*\d+[\W_]+([^\W\d_].*?)[\W_]+\d+", "the text between the first and the last number"),  # 12_cat_3
    (r"(\D*?[^\W\d_])[\W_]+\d.*", "the text before the first number"),  # cat_12_flipped
    (r"(\d)[\W_]+\d+", "the digit before the number"),  # 0_12
)
"""Patterns of names without their suffix, whose group is the class, and their descriptions; dates match none."""

_CAMERA = re.compile(r"img-\d{8}-wa(?=\d)|(?:img|image|dscf?|dscn|pxl)(?:[\W_]+|(?=\d+$))", re.IGNORECASE)
"""Beginning of a name that a camera or a messenger gives, which names no class: `IMG_0012`, `DSC0001`."""


@dataclass(frozen=True)
class Naming:
    """A rule that reads the class in a picture's name.

    Attributes:
        pattern: Its group is the class.
        words: Description of the rule; "" if the user gave the pattern.
    """

    pattern: re.Pattern[str]
    words: str = ""

    def class_in(self, path: str) -> str | None:
        """The class that the name of a picture contains, or else its path with "/"; None without one.

        Only the user's pattern is searched in the path.
        """
        name = path.rpartition("/")[2]
        if not self.words:
            match = self.pattern.search(name) or self.pattern.search(path)
            label = match["label" if "label" in self.pattern.groupindex else 1] if match else None
            return label.strip() or None if label else None
        match = self.pattern.fullmatch(_bare(name))
        return match[1] if match else None

    def note(self, names: Iterable[str]) -> str:
        """The rule with two examples, and the way to choose another; "" if the user gave the pattern."""
        examples: dict[str, str] = {}
        for name in names:
            if len(examples) < 2 and (label := self.class_in(name)):
                examples.setdefault(label, f"{name} is {label}")
        rule = f"the class is {self.words} of a file's name ({', '.join(examples.values())})"
        return f"{rule}; --label-from REGEX reads it otherwise" if self.words else ""


def naming(names: Iterable[str], label_from: str = "") -> Naming | None:
    """Choose the pattern that gives few classes which repeat; None without one. `label_from` is the user's pattern."""
    if label_from:
        return Naming(re.compile(label_from))
    stems = [stem for name in names if (stem := _bare(name))]
    candidates = [Naming(re.compile(pattern, re.DOTALL), words) for pattern, words in PATTERNS]
    fitness = [_fitness(candidate.pattern, stems) for candidate in candidates]
    return candidates[fitness.index(max(fitness))] if max(fitness) > (False, 0) else None


def _fitness(pattern: re.Pattern[str], stems: Collection[str]) -> tuple[bool, int]:
    """Sort key: several classes before one, then the number of pictures that repeat a class."""
    labels = [match[1] for stem in stems if (match := pattern.fullmatch(stem))]
    classes = len(set(labels))
    repeated = len(labels) - classes
    return (classes > 1, repeated) if repeated >= classes else (False, 0)


def _bare(name: str) -> str:
    """The name of a picture without its suffix and the camera's word; "" for other files."""
    stem, suffix = splitext(name)
    return _CAMERA.sub("", stem, count=1) if suffix.lower() in SUFFIXES and not stem.startswith(".") else ""
