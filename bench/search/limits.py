"""Limits on models before the search: what the builds of a family tell. A trial's limits are checked in `listener`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import text
from bench.records import Limit, Work, exceeded


def unmet(limits: Mapping[Limit, float], family: str, builds: Sequence[Work]) -> str:
    """Reason why a family is skipped: none of its builds is within the limits; "" if one is, or without builds."""
    exceeding = [exceeded(limits, build) for build in builds]
    if not exceeding or None in exceeding:
        return ""
    limit = max((limit for limit in exceeding if limit), key=list(Limit).index)  # the others are met by some builds
    least = min(getattr(build, limit) for build, first in zip(builds, exceeding, strict=True) if first is limit)
    subject = f"the fastest of {family} takes" if limit is Limit.LATENCY else f"the smallest of {family} has"
    most = text.quantity(limit, limits[limit]).replace("\u00a0parameters", "")
    return text.plain(f"{subject} {text.quantity(limit, least)}: above {most}")
