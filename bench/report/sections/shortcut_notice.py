"""The shortcut that metadata gives, if any: pictures that are classified correctly without a look at them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench import stats, text
from bench.records import FeatureKind, Run
from bench.runs import predictions

NEGLIGIBLE = 0.3
"""Share of the way from the best constant answer to no error that is no shortcut: 65 % with two classes of equal size.

Photographs of cats and of dogs, all of one size and format, differ in light and in their bytes: 58 % of them are right
with 600 training pictures, 60 % with 2,400.
"""

LEVEL = 0.01
"""Largest p-value of a shortcut against `NEGLIGIBLE`, corrected for the kinds of features (Holm).

With two classes of equal size and a power of 80 %, 24 test pictures show a shortcut that is right for 97 %, 200 one of
77 %, 1,000 one of 70 %; fewer than 14 show none.
"""

ENOUGH = 0.9
"""A single kind of features is named for all if it has this share of their gain."""


@dataclass(frozen=True)
class FoundShortcut:
    """Kind of features from which more is right than by chance.

    Attributes:
        correct, constant, n: Test pictures that are right from them alone, by the best constant answer, and all.
        is_warning: False if only the light in the pictures tells the classes apart, which may be what they show.
        winner: Label of the leading family; "" before it is scored.
        wrong, rescued: Pictures that are wrong from these features, and those among them that the winner gets right.
    """

    kind: FeatureKind
    correct: int
    constant: int
    n: int
    is_warning: bool
    winner: str = ""
    wrong: int = 0
    rescued: int = 0

    @property
    def level(self) -> str:
        """The kind of its banner: "warning", or "note"."""
        return "warning" if self.is_warning else "note"

    @property
    def title(self) -> str:
        return "Shortcut in the data" if self.is_warning else "Light tells the classes apart"

    def __str__(self) -> str:
        alone = f"{text.percent(self.correct / self.n)} of {text.plural(self.n, 'test picture')} are right"
        constant = f"the best constant answer: {text.percent(self.constant / self.n)}"
        sentence = f"From {self.kind.words} alone {alone} ({constant}): the models may have learnt that."
        if self.winner and self.wrong:
            share = f"{text.thousands(self.rescued)} right ({text.percent(self.rescued / self.wrong)})"
            sentence += f" Of the {text.plural(self.wrong, 'picture')} where it is wrong, {self.winner} has {share}."
        elif self.winner:
            sentence += f" It is wrong on none, so nothing shows that {self.winner} has learnt anything else."
        return sentence


def shortcut(run: Run) -> FoundShortcut | None:
    """The simplest shortcut in the data of a run; None without one."""
    tested = run.shortcuts
    if tested is None or not tested.n:
        return None
    right = {kind: np.unpackbits(np.frombuffer(bits, np.uint8), count=tested.n) for kind, bits in tested.right.items()}
    correct = {kind: int(bits.sum()) for kind, bits in right.items()}
    chance = tested.constant / tested.n
    negligible = chance + NEGLIGIBLE * (1 - chance)
    independent = min(tested.n, run.split.groups.get("test", tested.n))  # pictures of a group count as one
    counts = [round(count * independent / tested.n) for count in correct.values()]
    p_values = stats.holm([stats.above_chance(count, independent, negligible) for count in counts])
    gains = {
        kind: count - tested.constant for (kind, count), p in zip(correct.items(), p_values, strict=True) if p < LEVEL
    }
    kind = next((kind for kind, gain in gains.items() if gain >= ENOUGH * max(gains.values())), None)
    if kind is None:
        return None
    is_warning = kind is not FeatureKind.LIGHT or bool(gains.keys() - {FeatureKind.LIGHT, FeatureKind.ALL})
    shortcut = FoundShortcut(kind, correct[kind], tested.constant, tested.n, is_warning)
    leader = next(iter(run.ranking()), None)
    predicted = predictions.of_run(run).get(leader.family) if leader else None
    if leader is None or predicted is None or len(predicted.labels) < tested.n or leader.family in run.baselines:
        return shortcut
    wrong = right[kind] == 0
    return replace(
        shortcut,
        winner=text.label(leader),
        wrong=int(wrong.sum()),
        rescued=int(predicted.right[: tested.n][wrong].sum()),
    )
