"""Before the search: every family is built once, and its pretrained weights are looked for, loaded and labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import data
from bench.cache import downloads
from bench.config import RunConfig
from bench.data import Dataset
from bench.errors import ConfigError, RunFolderError, SpaceError, WeightsError, WorkerError
from bench.hyperparameters import Hyperparameter, Value, count_configurations
from bench.records import FamilyInfo, Run, Trial
from bench.search import spaces
from bench.search.progress import Progress
from bench.search.spaces import SearchSpace
from bench.workers import Job, Listener, Outcome, Pool

COUNTABLE = 10_000
"""Spaces with more configurations than that are never used up by a budget; they are not counted."""

PROBE_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Family:
    """A family that is ready to be searched.

    Attributes:
        info: What the records say of it.
        path: Its file.
        space: What it declares.
        known: Its known configurations, checked.
        files: Weights files by backbone, found and checked.
    """

    info: FamilyInfo
    path: Path
    space: tuple[Hyperparameter, ...]
    known: tuple[Mapping[str, Value], ...]
    files: Mapping[str, str]

    @property
    def name(self) -> str:
        """The family's name."""
        return self.info.name


def prepare(
    config: RunConfig, chosen: Sequence[SearchSpace], dataset: Dataset, pool: Pool, progress: Progress
) -> tuple[list[Family], list[str]]:
    """Looks at every family in a worker process, and at its weights.

    Returns:
        The families, skipped ones included, and the names of the GPUs that the workers see.

    Raises:
        SpaceError: A family's file is broken.
        WeightsError: Weights are missing and `missing_weights` is "error".
    """
    shared = {"class_names": list(dataset.classes), "input_sizes": list(dataset.input_sizes), "weights": config.weights}
    jobs = [Job("probe", {**shared, "path": str(space.path)}, PROBE_TIMEOUT_S) for space in chosen]
    found = run_all(pool, jobs, progress, "building every family once")
    probes = [_probe_result(space, outcome) for space, outcome in zip(chosen, found, strict=True)]
    weights = _Weights(config, pool, progress)
    wanted = {key: file for probe in probes for key, file in probe["weights_files"].items()}
    files, reasons = weights.obtain(wanted)
    families = [_family(config, space, probe, files, reasons) for space, probe in zip(chosen, probes, strict=True)]
    return families, sorted({gpu for probe in probes for gpu in probe["gpus"]})


def prepare_again(run: Run, trial: Trial, pool: Pool, progress: Progress) -> tuple[RunConfig, Family]:
    """What is needed to train a recorded trial's family again as it was, from the same weights.

    Raises:
        RunFolderError: Its file is not among the spaces any more, or was changed since.
        SpaceError: Its file is broken.
        WeightsError: It started from pretrained weights, which cannot be had now.
    """
    config = run.config
    pretrained = trial.weights == "imagenet"
    config = replace(config, missing_weights="error") if pretrained else replace(config, weights="random")
    chosen = [space for space in spaces.select(config.spaces) if space.name == trial.family]
    if not chosen:
        raise RunFolderError(f"{run.path}: the file of its family {trial.family} is not among the spaces any more")
    recorded = next(family.sha256 for family in run.families if family.name == trial.family)
    if recorded and recorded != spaces.content_sha256(chosen[0].path):
        raise RunFolderError(f"{chosen[0].path}: it, or a _*.py beside it, was changed since {run.path} was made")
    (family,), _ = prepare(config, chosen, data.load(run.manifest), pool, progress)
    return config, family


def check_known(families: Sequence[Family]) -> None:
    """Raises ConfigError where no family that is searched has a known configuration to run."""
    searched = [family for family in families if not family.info.skipped]
    if not any(family.known for family in searched):
        names = ", ".join(family.name for family in searched)
        raise ConfigError(f"only-known: nothing to run, there are no KNOWN_CONFIGURATIONS in {names}; leave it out")


def run_all(pool: Pool, jobs: Sequence[Job], progress: Progress, what: str) -> list[Outcome]:
    """Runs jobs that ask nothing, as many at a time as there is room for; outcomes in the jobs' order."""
    outcomes: dict[int, Outcome] = {}
    waiting = list(jobs)
    while len(outcomes) < len(jobs):
        progress.stage(what, len(outcomes), len(jobs))
        while waiting and pool.has_room():
            pool.submit(waiting.pop(0), Listener())
        for outcome in pool.finished(0.5):
            outcomes[id(outcome.job)] = outcome
    progress.stage(what, len(jobs), len(jobs))
    return [outcomes[id(job)] for job in jobs]


def _probe_result(space: SearchSpace, outcome: Outcome) -> Mapping[str, Any]:
    if outcome.result is not None:
        return outcome.result
    failure = outcome.failure
    assert failure is not None
    if failure.kind == "SpaceError":  # its message begins with file and line already
        path, line, message = _split_place(failure.message)
        raise SpaceError(Path(path), line, message)
    if failure.kind == "TIMEOUT" or failure.kind.startswith("SIG"):
        raise SpaceError(space.path, 1, f"cannot be built: {failure.kind}: {failure.message}")
    raise WorkerError(f"{space.path} could not be looked at: {failure.kind}: {failure.message}\n{failure.traceback}")


def _split_place(message: str) -> tuple[str, int, str]:
    place, _, rest = message.partition(": ")
    path, _, line = place.rpartition(":")
    return path, int(line), rest


def _family(
    config: RunConfig,
    space: SearchSpace,
    probe: Mapping[str, Any],
    files: Mapping[str, str],
    reasons: Mapping[str, str],
) -> Family:
    declared = tuple(Hyperparameter.from_dict(each) for each in probe["space"])
    configurations = count_configurations(declared, COUNTABLE)
    sha256 = spaces.content_sha256(space.path)
    info = FamilyInfo(space.name, space.title, configurations=configurations, sha256=sha256)
    missing = [reasons[key] for key in probe["weights_files"] if key in reasons]
    if probe["backbones"]:
        info = replace(info, weights="random" if config.weights == "random" else "imagenet")
    if missing:
        info = replace(info, weights="random (missing)")
        if config.missing_weights == "skip":
            info = replace(info, skipped=f"no imagenet weights: {missing[0]}")
    own = {key: files[key] for key in probe["weights_files"] if key in files}
    return Family(info, space.path, declared, tuple(probe["known"]), own)


class _Weights:
    """Downloads weights that are not in the Keras cache; a probe has looked at those that are."""

    def __init__(self, config: RunConfig, pool: Pool, progress: Progress) -> None:
        self._config, self._pool, self._progress = config, pool, progress
        self._unreachable: dict[str, str] = {}

    def obtain(self, wanted: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
        """Paths of the files that are there and load, and for the others the reason, both by backbone."""
        away = {key: file for key, file in wanted.items() if file["wrong"] is None}
        reasons = {key: reason for key, file in away.items() if (reason := self._download(file))}
        came = {key: file for key, file in away.items() if key not in reasons}
        jobs = [Job("weights", dict(file), PROBE_TIMEOUT_S) for file in came.values()]
        outcomes = run_all(self._pool, jobs, self._progress, "checking pretrained weights") if jobs else []
        wrong = {key: file["wrong"] for key, file in wanted.items() if key not in away}
        for key, outcome in zip(came, outcomes, strict=True):
            wrong[key] = outcome.result["wrong"] if outcome.result else outcome.failure and outcome.failure.message
        reasons |= {key: f"{wanted[key]['path']} does not hold them, {what}" for key, what in wrong.items() if what}
        for reason in dict.fromkeys(reasons.values()):
            self._missing([wanted[key]["application"] for key in reasons if reasons[key] == reason], reason)
        return {key: str(file["path"]) for key, file in wanted.items() if key not in reasons}, reasons

    def _download(self, file: Mapping[str, Any]) -> str:
        """Downloads a file; the reason where it cannot be had, else ""."""
        path, host = Path(file["path"]), urlsplit(file["url"]).netloc
        if path.is_file():  # another backbone wanted it too
            return ""
        if host not in self._unreachable:
            name = file["application"]
            self._progress.stage(f"downloading the imagenet weights of {name}", 0, 0)
            try:
                downloads.fetch(
                    file["url"],
                    path,
                    file["hash"],
                    lambda done, total: self._progress.stage(
                        f"downloading the imagenet weights of {name}", done, total
                    ),
                )
            except downloads.DownloadError as error:
                self._unreachable[host] = f"not in the Keras cache, and {host} cannot be reached ({error})"
        return self._unreachable.get(host, "")

    def _missing(self, applications: Sequence[str], reason: str) -> None:
        text = f"no imagenet weights for {', '.join(applications)}: {reason}"
        policy = self._config.missing_weights
        if policy == "error":
            raise WeightsError(
                f"{text}. Set KERAS_HOME to a folder that has them, or choose --missing-weights random or skip"
            )
        one = len(applications) == 1
        does = ("runs", "is") if one else ("run", "are")
        what = f"{does[0]} from random initialisation, labelled so" if policy == "random" else f"{does[1]} skipped"
        self._progress.warning(f"{text}. {'It' if one else 'They'} {what} (--missing-weights {policy})")
