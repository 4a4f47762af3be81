"""Links within a page: the id of a trial's row in the leaderboard."""

from __future__ import annotations

from hashlib import blake2b

from bench.records import Trial


def anchor(trial: Trial) -> str:
    """The id of a trial's row, such as `trial-3f2a9c0d41be`: a hash, so that nothing from outside shows in it."""
    name = trial.name.encode("utf-8", "surrogatepass")
    return f"trial-{blake2b(name, digest_size=6).hexdigest()}"
