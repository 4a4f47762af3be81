"""Whether a family's model is as large as it was: a change warns, a size above the cap fails."""

from __future__ import annotations

from bench.check.findings import FAIL, PARAMETERS, PASS, WARN, Finding
from bench.check.policy import FamilyPolicy
from bench.check.words import parameters
from bench.runs.results import FamilyResult


def finding(name: str, old: FamilyResult | None, new: FamilyResult, allowed: FamilyPolicy) -> Finding | None:
    """What became of a family's parameters; None where there is nothing to hold them against.

    Args:
        name: Its name.
        old: What it was in the baseline; None where it had no result there.
        new: What it is.
        allowed: With the cap, if there is one.
    """
    cap, now, then = allowed.max_parameters, new.parameters, old.parameters if old else None
    if cap is None and (old is None or (now is None and then is None)):
        return None
    changed = old is not None and now != then
    change = f"{now - then:+,}" if changed and now is not None and then is not None else ""

    def found(outcome: str, mark: str, message: str) -> Finding:
        return Finding(name, PARAMETERS, outcome, mark, change, parameters(old), parameters(new), message=message,
                       figures={"before": then, "after": now, "max_parameters": cap})  # fmt: skip

    was = "not known" if then is None else f"{then:,}"
    if now is None:
        held = f", so the cap of {cap:,} could not be checked" if cap is not None else f"; they were {was}"
        return found(WARN, "~", f"are not known{held}")
    if cap is not None and now > cap:
        before = f", and were {was}" if changed else ""
        return found(FAIL, "-", f"are {now:,}{before}: that is more than the cap of {cap:,}")
    if changed:
        return found(WARN, "~", f"were {was} and are {now:,}: the model is another one")
    return found(PASS, "", f"are {now:,}, as in the baseline" if old else f"are {now:,}; the cap is {cap:,}")
