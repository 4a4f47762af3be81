"""The judgement as JSON, for programs: all of it, and no figure that JSON does not have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bench.check.findings import NOT_COMPARABLE, Judgement
from bench.check.words import headline

SCHEMA_VERSION = 1


def render(judgement: Judgement) -> str:
    """The text: `schema_version, exit_status, result, error, differences, incomplete, notes, policy, baseline,
    candidate, findings`."""
    policy = judgement.policy
    return _text(
        {
            "exit_status": judgement.exit_status,
            "result": headline(judgement),
            "error": "",
            "differences": list(judgement.differences),
            "incomplete": judgement.incomplete,
            "notes": list(judgement.notes),
            "policy": {
                "path": str(policy.path or ""),
                "alpha": policy.alpha,
                **asdict(policy.usual),
                "families": {name: asdict(own) for name, own in policy.families.items()},
            },
            "baseline": judgement.baseline.about,  # the families are in the findings
            "candidate": judgement.candidate.about,
            "findings": [asdict(finding) for finding in judgement.findings],
        }
    )


def of_error(message: str) -> str:
    """The text where nothing could be judged, for there is no baseline."""
    return _text({"exit_status": NOT_COMPARABLE, "result": "", "error": message, "findings": []})


def _text(data: dict[str, Any]) -> str:
    told = json.dumps(_finite({"schema_version": SCHEMA_VERSION, **data}), indent=1, allow_nan=False)
    return told.replace("##", "#\\u0023")  # in a log, `##[` begins a command; it can be in a string only


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not have, become null."""
    if isinstance(value, Mapping):
        return {str(name): _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
