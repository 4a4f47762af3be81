"""Upgrade steps from older schema versions of a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.records import Ending, FailureKind, Origin


def run_1_to_2(data: dict[str, Any]) -> dict[str, Any]:
    """Upgrade `run.json`: version 1 had sentences for left-out pictures, and its counts of trials were optional."""
    from bench.data.dataset import upgrade_split_v1  # imports decoders, which only old runs need

    split = upgrade_split_v1(data["split"])
    return {**data, "split": split, "trials": data.get("trials") or {}, "best": data.get("best")}


def run_2_to_3(data: dict[str, Any]) -> dict[str, Any]:
    """Upgrade `run.json`: version 2 had no plan, and did not say which families can learn; both have defaults."""
    return data


def leader(data: dict[str, Any]) -> dict[str, Any]:
    """Rename the values of the leader in `run.json`: they were accuracies before there were other metrics."""
    old = {"val_accuracy": "val_value", "test_accuracy": "test_value"}
    old |= {f"test_accuracy_{end}": f"test_{end}" for end in ("low", "high")}
    best = data.get("best")
    return {**data, "best": {old.get(name, name): value for name, value in best.items()}} if best else data


def trial_from_2(data: Mapping[str, Any]) -> dict[str, Any]:
    """Upgrade a trial's record: versions 1 and 2 said `known`, and versions 3 and later say its origin.

    Older records say 0 parameters where they could not be counted.
    """
    cost = data.get("cost")
    if cost and not cost.get("parameters"):
        sizes = dict.fromkeys(("parameters", "trainable_parameters", "macs", "model_size_mb"))
        data = {**data, "cost": {**cost, **sizes}}
    if (seeds := data.get("over_seeds")) and "accuracy" in seeds:  # before there were other metrics
        data = {**data, "over_seeds": {"value": seeds["accuracy"], **seeds}}
    return {"origin": Origin.KNOWN if data.get("known") else Origin.PROPOSED, **data}


def trial_from_1(number: int, attributes: Mapping[str, Any], of_study: Mapping[str, Any]) -> dict[str, Any]:
    """Assemble a trial's record from the many attributes of version 1.

    Version 1 stored later additions in the attributes of the study.
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
    """Separate the metrics of a repeat from its other fields; the oldest records have only metrics."""
    times = {name: repeat.get(name, ()) for name in ("step_time_s", "step_cpu_s")}
    return {"number": repeat.get("number", place), "test": repeat, **times}


def _failure_from_1(failure: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Split the one word of version 1, a kind, an exception's class or a signal's name, into kind and error."""
    if failure is None:
        return None
    kind = str(failure["kind"])
    if kind in list(FailureKind):
        return {**failure, "kind": kind}
    named = FailureKind.SIGNAL if kind.startswith("SIG") else FailureKind.EXCEPTION
    return {**failure, "kind": named, "error": kind}


def _ending_from_1(note: str) -> Ending | None:
    """Turn the sentence of version 1 into an enum."""
    beginnings = {
        "stopped by the pruner": Ending.PRUNER,
        "stopped by the time budget": Ending.BUDGET,
        "answered from the record": Ending.RECORD,
    }
    return next((ending for beginning, ending in beginnings.items() if note.startswith(beginning)), None)
