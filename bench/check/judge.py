"""The regression gate's rule: a baseline and a candidate in, findings out. Nothing is read, printed or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.check import accuracy, presence, size, steps, words
from bench.check.comparable import differences, incomplete, notes, pairs
from bench.check.findings import (
    ACCURACY,
    FAIL,
    PARAMETERS,
    PRESENCE,
    SKIP,
    TIME,
    WARN,
    Finding,
    Judgement,
)
from bench.check.policy import Policy
from bench.runs.results import FamilyResult, Results


def judge(baseline: Results, candidate: Results, policy: Policy | None = None) -> Judgement:
    """Whether a run is as good as the baseline.

    Args:
        baseline, candidate: What the two came to.
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
        found = [list(_skipped(name, baseline, candidate, unlike[0])) for name in names]
    else:
        found = _judged(names, baseline, candidate, policy)
    return Judgement(
        baseline=baseline,
        candidate=candidate,
        findings=[finding for own in sorted(found, key=_place) for finding in own],
        differences=unlike,
        incomplete=incomplete(candidate),
        notes=list(notes(baseline, candidate)),
        policy=policy,
    )


def _place(findings: Sequence[Finding]) -> int:
    outcomes = {finding.outcome for finding in findings}
    return 0 if FAIL in outcomes else 1 if WARN in outcomes else 2


def _judged(names: Sequence[str], baseline: Results, candidate: Results, policy: Policy) -> list[list[Finding]]:
    """The findings of every family."""
    compared = accuracy.compare(pairs(baseline, candidate))
    found = []
    for name in names:
        old, new, allowed = baseline.families.get(name), candidate.families.get(name), policy.of(name)
        own: list[Finding | None] = [presence.finding(name, old, new)]
        if words.scored(old) and words.scored(new):
            own.append(accuracy.finding(name, old, new, compared[name], allowed, policy.alpha))
            own.append(steps.finding(name, old, new, (baseline.env, candidate.env), allowed))
            own.append(size.finding(name, old, new, allowed))
        elif words.scored(new):
            own.append(accuracy.of_new(name, new, allowed))
            own.append(size.finding(name, None, new, allowed))
        found.append([finding for finding in own if finding is not None])
    return found


def _skipped(name: str, baseline: Results, candidate: Results, why: str) -> Iterator[Finding]:
    """A family's findings where nothing is judged."""
    old, new = baseline.families.get(name), candidate.families.get(name)
    shown: dict[str, Callable[[FamilyResult | None], str]] = {
        PRESENCE: presence.ended,
        ACCURACY: words.accuracy,
        TIME: words.step_time,
        PARAMETERS: words.parameters,
    }
    for metric, show in shown.items():
        if show(old) or show(new):
            message = f"not judged, for the two do not compare: {why}"
            yield Finding(name, metric, SKIP, "x", before=show(old), after=show(new), message=message)
