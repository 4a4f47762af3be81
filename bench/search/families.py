"""Preparation of the families before the search: build each one once, find and check its pretrained weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import cache, data, text
from bench.cache import downloads
from bench.config import RunConfig
from bench.data import Dataset, machine
from bench.engines import ENGINES
from bench.errors import ConfigError, RunFolderError, SpaceError, WeightsError, WorkerError
from bench.hyperparameters import Hyperparameter, Value, configurations
from bench.records import FailureKind, FamilyInfo, Limit, Run, Speed, Trial, Weights, Work, exceeded, limits
from bench.runs.store import RunFolder
from bench.search import spaces
from bench.search.drafts import Drafts
from bench.search.limits import unmet
from bench.search.probes import ProbeCache
from bench.search.progress import Progress
from bench.search.spaces import SearchSpace
from bench.training.messages import FamilyJob, Job, KnownBackbones, ProbeJob, ProbeResult, WeightsFile, WeightsJob
from bench.workers import Listener, Outcome, Pool, Stop, run_jobs

COUNTABLE = 10_000
"""Maximum number of configurations that are counted; no budget exhausts a larger space."""

PROBE_TIMEOUT_S = 300.0

PROBE_MB = 1500.0
"""Memory of a process that builds a large family."""


@dataclass(frozen=True)
class Family:
    """A family that is ready to be searched.

    Attributes:
        known: Its checked known configurations.
        files: Checked weights files by backbone; "" if unavailable.
        input_sizes: Picture sizes in pixels that all its backbones can be built for.
        works, other_works, proposed_works, speed: As in `messages.ProbeResult`.
        backbones: Distinct backbones and input sizes of the known configurations, else of the defaults.
    """

    info: FamilyInfo
    path: Path
    space: tuple[Hyperparameter, ...]
    known: tuple[Mapping[str, Value], ...]
    files: Mapping[str, str]
    input_sizes: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    works: tuple[Work | None, ...] = ()
    other_works: tuple[Work, ...] = ()
    proposed_works: tuple[Work, ...] = ()
    speed: Speed | None = None
    backbones: tuple[KnownBackbones, ...] = ()

    @property
    def name(self) -> str:
        return self.info.name


def prepare(
    config: RunConfig,
    chosen: Sequence[SearchSpace],
    dataset: Dataset,
    pool: Pool,
    progress: Progress,
    only: Mapping[str, Value] | None = None,
    warn: Callable[[str], None] | None = None,
    download: bool = True,
    proposals: int = 0,
) -> tuple[list[Family], list[str]]:
    """Build every family once in a worker process, and find the weights of all backbones that it can request.

    Args:
        only: Find weights only for this configuration; None for all configurations.
        warn: Receives the warnings; None passes them to `progress`.
        download: Whether to download missing weights; else the families are prepared as if they were available.
        proposals: Number of proposals of the engine whose computations are counted for each family.

    Returns:
        The families, including skipped ones, and the names of the GPUs that the workers see.

    Raises:
        SpaceError: A family's file is invalid.
        WeightsError: Weights are missing and `missing_weights` is "error".
    """
    warn, unbalanced = warn or progress.warning, dataset.info().unbalanced
    jobs = [
        ProbeJob(
            id=f"probe {space.name}",
            timeout_s=PROBE_TIMEOUT_S,
            path=str(space.path),
            class_names=dataset.classes,
            input_sizes=tuple(dataset.input_sizes),
            weights=config.weights,
            seed=config.seed,
            unbalanced=unbalanced,
            only=only,
            limits=limits(config) if only is None else {},
            proposals=proposals,
            cache=str(cache.folder()),
            features=config.features,
            epochs=config.epochs,
        )
        for space in chosen
    ]
    probes = _probe(config, list(zip(jobs, chosen, strict=True)), pool, progress)
    requests = [
        (job, file)
        for space, job, probe in zip(chosen, jobs, probes, strict=True)
        if not _unmet(config, space.name, probe)
        for file in probe.weights_files
    ]
    if not download:
        if missing := list(dict.fromkeys(file.backbone for _, file in requests if file.missing)):
            warn(f"a run would first download the imagenet weights of {text.listing(missing, 8)}")
        requests = [(job, file) for job, file in requests if not file.missing]
    reasons = _WeightsFinder(config, pool, progress, warn).obtain(requests)
    families = [
        _family(config, space, job, probe, reasons) for space, job, probe in zip(chosen, jobs, probes, strict=True)
    ]
    for family in families:
        if not family.input_sizes or _unmet(config, family.name, family):
            warn(f"{family.path}: skipped, {family.info.skipped}")
    return families, sorted({gpu for probe in probes for gpu in probe.gpus})


def prepare_again(run: Run, trial: Trial, pool: Pool, progress: Progress) -> tuple[RunConfig, Family]:
    """Prepare a recorded trial's family for training it again in the same way, from the same weights.

    Raises:
        RunFolderError: The family's file is no longer among the spaces, or was changed.
        SpaceError: The family's file is invalid.
        WeightsError: The trial started from pretrained weights that are no longer available.
    """
    config = run.config
    pretrained = trial.weights == Weights.IMAGENET
    config = replace(config, missing_weights="error") if pretrained else replace(config, weights="random")
    chosen = [space for space in spaces.select(config.spaces, run.working_folder) if space.name == trial.family]
    if not chosen:
        raise RunFolderError(f"{run.path}: the file of its family {trial.family} is no longer among the spaces")
    recorded = next(family.sha256 for family in run.families if family.name == trial.family)
    if recorded and recorded != spaces.content_sha256(chosen[0].path):
        raise RunFolderError(f"{chosen[0].path}: this file or a _*.py next to it was changed after the run {run.path}")
    (family,), _ = prepare(config, chosen, data.load(run.manifest), pool, progress, trial.params)
    return config, family


def searchable(config: RunConfig, prepared: Sequence[Family]) -> list[Family]:
    """Return the families that are not skipped.

    Raises:
        WeightsError: All are skipped, at least one of them because its weights are missing.
        ConfigError: All are skipped because their backbones need larger pictures.
        ConfigError: All that can learn are skipped, at least one because of a limit.
        ConfigError: `only_known` is set, and no family has known configurations.
    """
    families = [family for family in prepared if not family.info.skipped]
    reasons = list(filter(None, (_unmet(config, family.name, family) for family in prepared)))
    if reasons and not any(family.info.learns for family in families):
        raise ConfigError(f"no family is within the limits: {'; '.join(reasons)}")
    if not families:
        without = next((family for family in prepared if family.input_sizes), None)
        if without is None:
            raise ConfigError(f"every family is skipped: {prepared[0].info.skipped}. Choose larger --input-sizes")
        raise WeightsError(f"every family is skipped: {without.info.skipped}. Choose --missing-weights random")
    if config.only_known and not any(family.known for family in families):
        names = ", ".join(family.name for family in families)
        raise ConfigError(f"only-known: nothing to run, there are no KNOWN_CONFIGURATIONS in {names}; leave it out")
    return families


def training(config: RunConfig, run: Run, family: Family) -> dict[str, Any]:
    """Return the fields that are the same in all `TrainingJob`s of a family."""
    split = run.split
    return {
        "path": str(family.path),
        "class_names": split.classes,
        "input_sizes": family.input_sizes,
        "weights": config.weights,
        "missing_weights": config.missing_weights,
        "files": dict(family.files),
        "manifest": str(run.manifest.absolute()),
        "cache": str(cache.folder()),
        "features": config.features,
        "patience": config.patience,
        "fit": config.fit,
        "seed": config.seed,
        "metrics": config.metric,
        "prices": config.costs,
        "unbalanced": split.unbalanced,
    }


def run_all(
    pool: Pool,
    jobs: Sequence[Job],
    progress: Progress,
    stage: str,
    stop: Stop | None = None,
    listener: Callable[[Job], Listener] = lambda job: Listener(),
) -> list[Outcome]:
    """Run jobs, as many at a time as the pool has room for.

    Args:
        listener: Returns the listener that answers a job's calls.

    Returns:
        Outcomes in the order of the jobs, without the jobs that a stop prevented from starting.
    """
    outcomes: dict[str, Outcome] = {}
    waiting = iter(jobs)
    progress.stage(stage, 0, len(jobs))
    for outcome in run_jobs(pool, lambda: next(((job, listener(job)) for job in waiting), None), stop or Stop()):
        outcomes[outcome.job.id] = outcome
        progress.stage(stage, len(outcomes), len(jobs))
    return [outcomes[job.id] for job in jobs if job.id in outcomes]


def _probe(
    config: RunConfig, jobs: Sequence[tuple[ProbeJob, SearchSpace]], pool: Pool, progress: Progress
) -> list[ProbeResult]:
    """Build the families whose probes are not in the cache; return all results in the order of the jobs."""
    earlier = ProbeCache(pool.cache, config.engines[0])
    known = {job.id: result for job, _ in jobs if (result := earlier.find(job))}
    needed = [job for job, _ in jobs if job.id not in known]
    drafts = {job.id: Drafts(config, space.name) for job, space in jobs}
    pool.divide(_probes_at_a_time(config, len(needed)))
    outcomes = run_all(pool, needed, progress, "building every family once", listener=lambda job: drafts[job.id])
    pool.divide(config.workers)
    by_id = {outcome.job.id: outcome for outcome in outcomes}
    results = [known.get(job.id) or _probe_result(space, by_id[job.id]) for job, space in jobs]
    for (job, _), result in zip(jobs, results, strict=True):
        if job.id not in known:
            earlier.keep(job, result)
    return results


def _probes_at_a_time(config: RunConfig, probes: int) -> int:
    """Return how many probes may run at the same time: two on one core each end sooner than one after the other.

    A latency is measured on the cores of a trial.
    """
    if Limit.LATENCY in limits(config):
        return config.workers
    return max(1, min(probes, machine.core_count(), int(machine.available_mb() / PROBE_MB)))


def _probe_result(space: SearchSpace, outcome: Outcome) -> ProbeResult:
    if isinstance(outcome.result, ProbeResult):
        return outcome.result
    failure = outcome.failure
    assert failure is not None
    if failure.error == SpaceError.__name__:
        raise SpaceError(Path(failure.path), failure.line, failure.message)
    if failure.kind in (FailureKind.TIMEOUT, FailureKind.SIGNAL):
        raise SpaceError(space.path, 1, f"cannot be built: {failure.name}: {failure.message}")
    raise WorkerError(f"{space.path} could not be checked: {failure.name}: {failure.message}\n{failure.traceback}")


_FamilyBackbone = tuple[str, str]
"""Path of a family and key of a backbone: two families may have different applications of the same name."""


def _family_backbone(job: FamilyJob, file: WeightsFile) -> _FamilyBackbone:
    return job.path, file.backbone


def _family(
    config: RunConfig, space: SearchSpace, job: ProbeJob, probe: ProbeResult, reasons: Mapping[_FamilyBackbone, str]
) -> Family:
    space_configurations = configurations(probe.space, COUNTABLE)
    info = FamilyInfo(
        name=space.name,
        title=space.title,
        configurations=None if space_configurations is None else len(space_configurations),
        sha256=spaces.content_sha256(space.path),
        learns=probe.learns,
    )
    files = {file.backbone: "" if _family_backbone(job, file) in reasons else file.path for file in probe.weights_files}
    sizes = tuple(size for size in job.input_sizes if size not in probe.too_small)
    if not sizes:
        info = replace(info, skipped="; ".join(probe.warnings))
    elif files and not any(files.values()):
        reason = reasons[_family_backbone(job, probe.weights_files[0])]
        skipped = f"no imagenet weights: {reason}" if config.missing_weights == "skip" else ""
        info = replace(info, skipped=skipped, weights=Weights.NONE if skipped else Weights.MISSING)
    elif probe.backbones:
        info = replace(info, weights=Weights(config.weights))
    family = Family(
        info=info,
        path=space.path,
        space=probe.space,
        known=probe.known,
        files=files,
        input_sizes=sizes,
        warnings=probe.warnings,
        works=probe.works,
        other_works=probe.other_works,
        proposed_works=probe.proposed_works,
        speed=probe.speed,
        backbones=probe.known_backbones,
    )
    return _limited(config, family) if job.limits else family


def _limited(config: RunConfig, family: Family) -> Family:
    """Skip a family that no build shows to be within the limits; leave out its known configurations beyond them."""
    if (reason := _unmet(config, family.name, family)) and not family.info.skipped:
        return replace(family, info=replace(family.info, skipped=reason))
    pairs = list(zip(family.known, family.works, strict=True))
    within = [(values, work) for values, work in pairs if work is None or not exceeded(limits(config), work)]
    if len(within) == len(pairs):
        return family
    warning = f"{len(pairs) - len(within)} of {text.plural(len(pairs), 'known configuration')} left out, above a limit"
    return replace(
        family,
        known=tuple(values for values, _ in within),
        works=tuple(work for _, work in within),
        warnings=(*family.warnings, warning),
    )


def _unmet(config: RunConfig, name: str, built: Family | ProbeResult) -> str:
    return unmet(limits(config), name, [*filter(None, built.works), *built.other_works])


class _WeightsFinder:
    """Downloads weights that are not in the Keras cache; the probe has already checked the cached ones."""

    def __init__(self, config: RunConfig, pool: Pool, progress: Progress, warn: Callable[[str], None]) -> None:
        self._config, self._pool, self._progress, self._warn = config, pool, progress, warn
        self._unreachable: dict[str, str] = {}
        self._downloaded: dict[str, str] = {}

    def obtain(self, requests: Sequence[tuple[ProbeJob, WeightsFile]]) -> dict[_FamilyBackbone, str]:
        """Download the missing files; return the reasons for those that are unavailable or cannot be loaded."""
        reasons: dict[_FamilyBackbone, str] = {}
        downloaded: dict[str, tuple[ProbeJob, WeightsFile]] = {}
        for job, file in requests:
            reason = file.problem or (self._download(file) if file.missing else "")
            if reason:
                reasons[_family_backbone(job, file)] = reason
            elif file.missing:
                downloaded.setdefault(_check_id(file), (job, file))
        problems = self._check(downloaded)
        reasons |= {
            _family_backbone(job, file): problems[check]
            for job, file in requests
            if file.missing and (check := _check_id(file)) in problems
        }
        for reason in dict.fromkeys(reasons.values()):
            names = [file.backbone for job, file in requests if reasons.get(_family_backbone(job, file)) == reason]
            self._missing(list(dict.fromkeys(names)), reason)
        return reasons

    def _check(self, downloaded: Mapping[str, tuple[ProbeJob, WeightsFile]]) -> dict[str, str]:
        """Load the downloaded files; return their problems by `_check_id`."""
        shared = ("path", "class_names", "input_sizes", "weights", "seed", "unbalanced")
        jobs = [
            WeightsJob(id=check, timeout_s=PROBE_TIMEOUT_S, file=file, **{name: getattr(job, name) for name in shared})
            for check, (job, file) in downloaded.items()
        ]
        outcomes = run_all(self._pool, jobs, self._progress, "checking pretrained weights") if jobs else []
        problems: dict[str, str] = {}
        for outcome in outcomes:
            result, failure = outcome.result, outcome.failure
            problems[outcome.job.id] = (
                result.problem if isinstance(result, WeightsFile) else failure.message if failure else ""
            )
        return {check: problem for check, problem in problems.items() if problem}

    def _download(self, file: WeightsFile) -> str:
        """Download a file, once; return the reason if that fails, else ""."""
        if file.path not in self._downloaded:
            self._downloaded[file.path] = self._fetch(file)
        return self._downloaded[file.path]

    def _fetch(self, file: WeightsFile) -> str:
        host = urlsplit(file.url).netloc
        if host not in self._unreachable:
            stage = f"downloading the imagenet weights of {file.backbone}"
            self._progress.stage(stage, 0, 0)
            try:
                downloads.fetch(
                    file.url, Path(file.path), file.hash, lambda done, total: self._progress.stage(stage, done, total)
                )
            except downloads.UnreachableError as error:
                self._unreachable[host] = f"not in the Keras cache, and {host} cannot be reached ({error})"
            except downloads.DownloadError as error:
                return f"not in the Keras cache, and {host} did not send it ({error})"
        return self._unreachable.get(host, "")

    def _missing(self, backbones: Sequence[str], reason: str) -> None:
        message = f"no imagenet weights for {text.listing(backbones, 8)}: {reason.rstrip('.')}"
        policy = self._config.missing_weights
        if policy == "error":
            raise WeightsError(
                f"{message}. Set KERAS_HOME to a folder that has them, or choose --missing-weights random or skip"
            )
        one = len(backbones) == 1
        verbs = ("runs", "is") if one else ("run", "are")
        effect = f"{verbs[0]} from random initialisation, labelled so" if policy == "random" else f"{verbs[1]} skipped"
        self._warn(f"{message}. {'It' if one else 'They'} {effect} (--missing-weights {policy})")


def _check_id(file: WeightsFile) -> str:
    return f"weights {file.backbone} {file.path}"


def announce(families: Sequence[Family], folder: RunFolder, progress: Progress, warn: Callable[[str], None]) -> None:
    """Announce the search, with warnings about its settings."""
    config = folder.run.config
    warnings = [f"{family.path}: {warning}" for family in families for warning in family.warnings]
    budget, plan = config.budget, folder.run.plan
    assert plan is not None
    tried = [family.name for family in families if family.known or not config.only_known]
    if untried := [family.name for family in families if family.name not in tried]:
        warnings.append(f"--only-known runs nothing of {', '.join(untried)}: no known configurations in the file")
    if budget.trials is not None and budget.trials < len(tried):
        without = ", ".join(tried[budget.trials :])
        warnings.append(f"a budget of {budget} does not reach every family: {without} will get none")
    replacing = set(spaces.hidden())
    warnings += [
        f"{family.path} replaces the built-in family {family.name}" for family in families if family.path in replacing
    ]
    unpruned = [engine for engine in config.engines if not ENGINES[engine].prunes]
    if config.pruner != "none" and unpruned:
        warnings.append(f"the pruner {config.pruner} works with Optuna's engines, not with {', '.join(unpruned)}")
    progress.begin([family.info for family in families], folder.path, plan)
    for warning in dict.fromkeys(warnings):
        warn(warning)
