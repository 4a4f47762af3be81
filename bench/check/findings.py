"""The findings of the regression gate, one per family and quantity, and the exit status that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bench.check.flips import Flips, RecallChange
from bench.check.policy import Policy
from bench.check.wording import short
from bench.runs.results import Results
from bench.text import plain, plural

REGRESSION, NOT_COMPARABLE, INCOMPLETE = 1, 3, 4
"""Exit statuses, in order of precedence 3, 4, 1; 0 if none applies."""


class GateOutcome(StrEnum):
    """The verdict of a finding; SKIP: not comparable, so not judged."""

    PASS = "pass"
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Quantity(StrEnum):
    """A judged quantity, in the order of a family's findings; METRIC is the one that the runs chose by."""

    PRESENCE = "presence"
    METRIC = "metric"
    CLASSES = "recall by class"
    TIME = "step time"
    PARAMETERS = "parameters"


class Sign(StrEnum):
    """The mark in front of a finding."""

    NONE = ""
    BETTER = "+"
    WORSE = "-"
    GONE = "!"
    NEW = "*"
    UNJUDGED = "x"
    DOUBTFUL = "~"


MEANINGS = {
    Sign.BETTER: "better, and more than noise",
    Sign.WORSE: "worse by more than noise, or beyond a fixed limit",
    Sign.GONE: "missing, failed or not scored",
    Sign.NEW: "new",
    Sign.UNJUDGED: "not comparable, so not judged",
    Sign.DOUBTFUL: "may be noise",
}
"""The meaning of every mark."""

COLUMNS = ("", "family", "metric", "outcome", "change", "before", "after", "MDE")
"""Columns of a table of findings, see `Finding.cells`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One quantity of one family, judged.

    Attributes:
        metric: Its name: of METRIC the one of `--metric`.
        change, before, after: The figures in words; "" if there is none.
        mde: Minimum detectable change for the worse, in points or the metric's unit (METRIC only), with `>` if the
            noise of seeds is unknown.
        underpowered: True if a change of twice the limit could be missed (METRIC only).
        message: The reason, in a sentence.
        figures: The same as numbers, for `--json`: shares, seconds, counts, p-values.
    """

    family: str
    quantity: Quantity
    metric: str
    outcome: GateOutcome
    mark: Sign = Sign.NONE
    change: str = ""
    before: str = ""
    after: str = ""
    mde: str = ""
    underpowered: bool = False
    message: str = ""
    figures: Mapping[str, float | int | str | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its family and metric: `vgg16, accuracy`."""
        return f"{short(self.family)}, {short(self.metric)}"

    @property
    def problem(self) -> bool:
        """True if it fails or warns."""
        return self.outcome in (GateOutcome.FAIL, GateOutcome.WARN)

    @property
    def changed(self) -> bool:
        """False for rows, other than those of the metric, that only say that nothing changed."""
        quiet = self.outcome in (GateOutcome.PASS, GateOutcome.SKIP) and self.mark in (Sign.NONE, Sign.UNJUDGED)
        return self.quantity == Quantity.METRIC or not quiet

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row in a table."""
        outcome = self.outcome.upper() if self.problem else self.outcome
        row = (
            self.mark,
            short(self.family),
            short(self.metric),
            outcome,
            self.change,
            self.before,
            self.after,
            self.mde,
        )
        return tuple(map(str, row))


@dataclass(frozen=True)
class NoBaseline:
    """Nothing could be judged, because there is no usable baseline; the message says why."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The gate's verdict on a run.

    Attributes:
        differences: Reasons why the two are not comparable; empty if they are.
        incomplete: Reason why the candidate is not a complete run; "" if it is.
        notes: Notes for the reader, e.g. that times were not compared.
        flips: By family, the pictures with another answer; empty if their names are unknown.
        recalls: By family, the change of the recall of every class; empty if the classes of the pictures are unknown.
    """

    baseline: Results
    candidate: Results
    findings: Sequence[Finding]
    differences: Sequence[str] = ()
    incomplete: str = ""
    notes: Sequence[str] = ()
    policy: Policy = field(default_factory=Policy)
    flips: Mapping[str, Flips] = field(default_factory=dict)
    recalls: Mapping[str, Sequence[RecallChange]] = field(default_factory=dict)

    @property
    def changed_classes(self) -> list[tuple[str, RecallChange]]:
        """The families and classes whose recall changed by more than noise, in either direction, as tested over all."""
        return [(name, change) for name, changes in self.recalls.items() for change in changes if change.changed]

    def of(self, outcome: GateOutcome) -> list[Finding]:
        """The findings with an outcome."""
        return [finding for finding in self.findings if finding.outcome == outcome]

    @property
    def problems(self) -> list[Finding]:
        """The findings that fail, then those that warn."""
        return [*self.of(GateOutcome.FAIL), *self.of(GateOutcome.WARN)]

    @property
    def exit_status(self) -> int:
        """0 pass, 1 regression, 3 not comparable, 4 incomplete."""
        if self.differences:
            return NOT_COMPARABLE
        if self.incomplete:
            return INCOMPLETE
        return REGRESSION if self.of(GateOutcome.FAIL) else 0

    @property
    def headline(self) -> str:
        """The result on one line: `FAIL: 1 regression, 2 warnings in 6 families (baseline 0123abcd, 2026-11-21)`.

        UNDERPOWERED counts findings that could miss a drop of twice the limit; UNCALIBRATED counts those that can only
        warn, because the noise of seeds is unknown.
        """
        sha = self.baseline.git_sha
        commit = short(sha[:8] + ("+" if sha.endswith("+") else "") or self.baseline.run)
        against = f"(baseline {commit}, {short(self.baseline.created_utc[:10])})"
        if self.differences:
            rest = len(self.differences) - 1
            more = f" (and {plural(rest, 'more difference')})" if rest else ""
            return plain(f"NOT COMPARABLE: {self.differences[0]}{more}; nothing was judged {against}")
        failed, warned = len(self.of(GateOutcome.FAIL)), len(self.of(GateOutcome.WARN))
        underpowered = sum(finding.underpowered for finding in self.findings)
        uncalibrated = sum(finding.figures.get("calibrated") is False for finding in self.findings)
        counts = [
            plural(failed, "regression") if failed else "no regression",
            plural(warned, "warning") if warned else "",
            f"{underpowered} UNDERPOWERED" if underpowered else "",
            f"{uncalibrated} UNCALIBRATED" if uncalibrated else "",
        ]
        families = plural(len({finding.family for finding in self.findings}), "family", "families")
        verdict = f"INCOMPLETE: {self.incomplete};" if self.incomplete else "FAIL:" if failed else "PASS:"
        return plain(f"{verdict} {', '.join(filter(None, counts))} in {families} {against}")
