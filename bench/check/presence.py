"""Whether a family still has a result: one that had and has none now is a regression, whatever became of it."""

from __future__ import annotations

from bench.check.findings import FAIL, INFO, PASS, PRESENCE, WARN, Finding
from bench.check.words import accuracy, scored
from bench.runs.results import COMPLETE, FamilyResult
from bench.text import one_line


def finding(name: str, old: FamilyResult | None, new: FamilyResult | None) -> Finding:
    """What became of a family; None: it is not in the baseline, or not in the run."""

    def found(outcome: str, mark: str, change: str, message: str) -> Finding:
        return Finding(name, PRESENCE, outcome, mark, change, ended(old), ended(new), message=message)

    why = f": {one_line(new.reason)}" if new and new.reason else ""
    now = f"has none now ({ended(new)}){why}" if new else "is not in this run"
    if scored(old) and scored(new):
        return found(PASS, "", "", "has a test accuracy, as in the baseline")
    if scored(old):
        had = f"had a test accuracy of {accuracy(old)} in the baseline and {now}"
        hint = "" if new else ": was its file renamed or removed, or is it left out by --spaces?"
        return found(FAIL, "!", ended(new), had + hint)
    if scored(new):
        had = f"none in the baseline ({ended(old)})" if old else "is not in the baseline"
        has = f"has a test accuracy of {accuracy(new)}"
        message = f"{has} and had {had}" if old else f"{had} and {has}"
        return found(INFO, "*", "new", f"{message}: it is compared once the baseline has it")
    had = f"had no test accuracy in the baseline ({ended(old)})" if old else "is not in the baseline"
    return found(WARN, "!", ended(new), f"{had} and {now}")


def ended(family: FamilyResult | None) -> str:
    """How a family ended, in a word or two."""
    if family is None:
        return "missing"
    return "not scored" if family.status == COMPLETE and not scored(family) else one_line(family.status)
