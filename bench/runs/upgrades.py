"""Steps from older schema versions of a run folder to the newest one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.records import Ending, FailureKind


def run_1_to_2(data: dict[str, Any]) -> dict[str, Any]:
    """`run.json`: version 1 had sentences for what is left out of the data; its account of the trials was optional."""
    from bench.data.dataset import upgrade_split_v1  # its decoders are heavy, and only old runs need it

    split = upgrade_split_v1(data["split"])
    return {**data, "split": split, "trials": data.get("trials") or {}, "best": data.get("best")}


def trial_from_1(number: int, attributes: Mapping[str, Any], of_study: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's record out of the many attributes that version 1 wrote.

    What came after the trial's end, version 1 kept in the attributes of the study.
    """
    ending = dict(attributes.get("ending", {}))
    note = str(ending.pop("note", ""))
    best_epochs = ending.pop("best_epochs", None) or ()
    if isinstance(best_epochs, int):  # while training had one phase
        best_epochs = (best_epochs,)
    after = {name: of_study.get(f"{name}/{number}") for name in ("test", "over_seeds")}
    repeats = of_study.get(f"repeats/{number}") or ()
    parts = {
        name: attributes[name]
        for name in ("params", "validation", "folds", "cost", "history", "prefixes")
        if attributes.get(name)
    }
    return {
        **attributes.get("origin", {}),
        **ending,
        **parts,
        **{name: value for name, value in after.items() if value},
        "best_epochs": best_epochs,
        "repeats": [_repeat_from_1(repeat, place) for place, repeat in enumerate(repeats, start=1)],
        "failure": _failure_from_1(attributes.get("failure")),
        "ending": _ending_from_1(note),
    }


def _repeat_from_1(repeat: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Version 1 mixed the metrics with the repeat's own fields; the oldest ones had the metrics alone."""
    times = {name: repeat.get(name, ()) for name in ("step_time_s", "step_cpu_s")}
    return {"number": repeat.get("number", place), "test": repeat, **times}


def _failure_from_1(failure: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Version 1 wrote one word for the kind, the exception's class or the signal's name."""
    if failure is None:
        return None
    kind = str(failure["kind"])
    if kind in list(FailureKind):
        return {**failure, "kind": kind}
    named = FailureKind.SIGNAL if kind.startswith("SIG") else FailureKind.EXCEPTION
    return {**failure, "kind": named, "error": kind}


def _ending_from_1(note: str) -> Ending | None:
    """Version 1 had a sentence."""
    beginnings = {
        "stopped by the pruner": Ending.PRUNER,
        "stopped by the time budget": Ending.BUDGET,
        "answered from the record": Ending.RECORD,
    }
    return next((ending for beginning, ending in beginnings.items() if note.startswith(beginning)), None)
