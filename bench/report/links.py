"""Where a trial stands on the page: the id of its row, which other parts of the page link to."""

from __future__ import annotations

from hashlib import blake2b

from bench.records import Trial


def anchor(trial: Trial) -> str:
    """The id of a trial's row in the leaderboard, such as `trial-3f2a9c0d41be`.

    It is the same for the same study and number, and nothing that a name holds can show in it.
    """
    name = trial.name.encode("utf-8", "surrogatepass")
    return f"trial-{blake2b(name, digest_size=6).hexdigest()}"
