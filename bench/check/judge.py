"""The regression gate: a baseline and a candidate in, findings out. Nothing is read, printed or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.check import rules, wording
from bench.check.changes import differences, family_changes, incomplete, notes, scored
from bench.check.findings import Finding, GateOutcome, Judgement, Metric, Sign
from bench.check.policy import Policy
from bench.runs.results import FamilyResult, Results


def judge(baseline: Results, candidate: Results, policy: Policy | None = None) -> Judgement:
    """Judge whether a run is as good as the baseline.

    Args:
        baseline, candidate: The results of the two.
        policy: What is allowed; None: the documented rule.

    Returns:
        Families with failures first, then those with warnings, then the others in the baseline's order; a family's
        findings stand together.

    Raises:
        ConfigError: The policy has limits for a family that neither side has.
    """
    names = list({**baseline.families, **candidate.families})
    policy = (policy or Policy()).meant_for(names)
    if unlike := list(differences(baseline, candidate)):
        families = [list(_skipped(name, baseline, candidate, unlike[0])) for name in names]
    else:
        families = _judged(names, baseline, candidate, policy)
    return Judgement(
        baseline=baseline,
        candidate=candidate,
        findings=[finding for own in sorted(families, key=_place) for finding in own],
        differences=unlike,
        incomplete=incomplete(candidate),
        notes=list(notes(baseline, candidate)),
        policy=policy,
    )


def _place(findings: Sequence[Finding]) -> int:
    outcomes = {finding.outcome for finding in findings}
    return 0 if GateOutcome.FAIL in outcomes else 1 if GateOutcome.WARN in outcomes else 2


def _judged(names: Sequence[str], baseline: Results, candidate: Results, policy: Policy) -> list[list[Finding]]:
    """The findings of every family."""
    changes = family_changes(baseline, candidate)
    families = []
    for name in names:
        old, new, allowed = baseline.families.get(name), candidate.families.get(name), policy.of(name)
        own: list[Finding | None] = [rules.presence(name, old, new)]
        if scored(old) and scored(new):
            change, on = changes[name], (baseline.env, candidate.env)
            own.append(rules.accuracy_change(name, old, new, change, allowed=allowed, alpha=policy.alpha))
            own.append(rules.step_time_change(name, old, new, on, allowed))
            own.append(rules.size(name, old, new, allowed))
        elif scored(new):
            own.append(rules.accuracy_of_new(name, new, allowed))
            own.append(rules.size(name, None, new, allowed))
        families.append([finding for finding in own if finding is not None])
    return families


def _skipped(name: str, baseline: Results, candidate: Results, why: str) -> Iterator[Finding]:
    """A family's findings where nothing is judged."""
    shown: dict[Metric, Callable[[FamilyResult | None], str]] = {
        Metric.PRESENCE: rules.ended,
        Metric.ACCURACY: wording.accuracy,
        Metric.TIME: wording.step_time,
        Metric.PARAMETERS: wording.parameters,
    }
    for metric, show in shown.items():
        before, after = (show(side.families.get(name)) for side in (baseline, candidate))
        if before or after:
            yield Finding(
                family=name,
                metric=metric,
                outcome=GateOutcome.SKIP,
                mark=Sign.UNJUDGED,
                before=before,
                after=after,
                message=f"not judged, for the two do not compare: {why}",
            )
