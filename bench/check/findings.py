"""What the regression gate found: one finding for each family and metric, and the exit status that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.check.policy import Policy
from bench.runs.results import Results

PASS, INFO, WARN, FAIL, SKIP = "pass", "info", "warn", "fail", "skip"
"""Outcomes of a finding; SKIP: not comparable, so nothing was judged."""

PRESENCE, ACCURACY, TIME, PARAMETERS = "presence", "accuracy", "step time", "parameters"
"""Metrics, in the order in which a family's findings stand."""

MARKS = {
    "+": "better, and more than noise",
    "-": "worse, and more than noise, or past a fixed limit",
    "!": "missing, failed or not scored",
    "*": "new",
    "x": "not comparable, so not judged",
    "~": "may be noise, or could not be told from it",
}
"""What stands before a finding, and what it says."""

REGRESSION, NOT_COMPARABLE, INCOMPLETE = 1, 3, 4
"""Exit statuses; 3 before 4 before 1, 0 where there is none of them."""


@dataclass(frozen=True)
class Finding:
    """One metric of one family, judged.

    Attributes:
        metric: One of `PRESENCE`, `ACCURACY`, `TIME`, `PARAMETERS`.
        outcome: One of `PASS`, `INFO`, `WARN`, `FAIL`, `SKIP`.
        mark: One of `MARKS`; "" where nothing changed.
        change, before, after: The figures as they are shown; "" where there is none.
        mde: The minimum detectable drop as it is shown (accuracy only); `>` where the noise of the seeds is not known.
        underpowered: Whether a drop of twice the limit could have gone unseen (accuracy only).
        message: What was found and why it counts, in a sentence.
        figures: The same as numbers, for `--json`: shares, seconds, counts, p-values.
    """

    family: str
    metric: str
    outcome: str
    mark: str = ""
    change: str = ""
    before: str = ""
    after: str = ""
    mde: str = ""
    underpowered: bool = False
    message: str = ""
    figures: Mapping[str, float | int | str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """What the gate says of a run.

    Attributes:
        baseline, candidate: What was compared.
        findings: Family by family, metric by metric.
        differences: Why the two do not compare: each names what differs; empty where they do.
        incomplete: Why the candidate is not a complete run; "" where it is.
        notes: What a reader should know, e.g. that times were not compared.
        policy: What was allowed.
    """

    baseline: Results
    candidate: Results
    findings: Sequence[Finding]
    differences: Sequence[str] = ()
    incomplete: str = ""
    notes: Sequence[str] = ()
    policy: Policy = field(default_factory=Policy)

    def of(self, outcome: str) -> list[Finding]:
        """The findings with an outcome."""
        return [finding for finding in self.findings if finding.outcome == outcome]

    @property
    def problems(self) -> list[Finding]:
        """What failed, then what warns."""
        return [*self.of(FAIL), *self.of(WARN)]

    @property
    def underpowered(self) -> list[Finding]:
        """Those for which a drop of twice the limit could have gone unseen."""
        return [finding for finding in self.findings if finding.underpowered]

    @property
    def uncalibrated(self) -> list[Finding]:
        """Those that can do no more than warn, for the noise of the seeds is not known."""
        return [finding for finding in self.findings if finding.figures.get("calibrated") is False]

    @property
    def exit_status(self) -> int:
        """0 pass, 1 regression, 3 not comparable, 4 incomplete."""
        if self.differences:
            return NOT_COMPARABLE
        if self.incomplete:
            return INCOMPLETE
        return REGRESSION if self.of(FAIL) else 0
