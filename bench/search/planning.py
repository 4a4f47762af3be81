"""Estimate of a run before it begins: the cost of every family, the trials that the budget buys, the total time.

The search is simulated with forecasts: every family begins with its first known configuration. The first proposal costs
what the engine proposes without a result. An engine that learns then stays near the better of the two, and seldom takes
the dearest: further proposals cost, in turn, the median of its first proposals and what these two cost. Random search
takes them all. Features count once, as the cache keeps them. The interval includes the uncertainty of the forecasts and
the spread of the proposals.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, pvariance

from bench import cache, data, engines, workers
from bench.config import RunConfig
from bench.data import further
from bench.hyperparameters import Value
from bench.records import FamilyInfo, Forecast, SearchPlan, Work
from bench.search import families as preparation
from bench.search import spaces
from bench.search.allocation import evenly, is_known_due
from bench.search.families import Family
from bench.search.forecast import Forecaster, Z
from bench.search.probes import is_pure
from bench.search.progress import SILENT, Progress
from bench.search.shares import cheapest_first, make_plan
from bench.text import listing, seconds
from bench.workers import Pool

IMPORT_S = 7.0
"""Time until the workers have imported TensorFlow."""

PAGE_S = 3.0
"""Time for writing the page, at the start and at the end."""

UNKNOWN_S = 1.0
"""Assumed time of a trial without a forecast, e.g. of a scikit-learn classifier before its first trial."""

PROPOSALS = 6
"""Number of proposals of each family that are built."""

MAX_TRIALS = 10_000
"""Maximum number of simulated trials."""


@dataclass(frozen=True)
class FamilyEstimate:
    """Predicted cost of one family.

    Attributes:
        configuration: Its first known configuration; empty without one.
        different: The values of it that differ from the defaults.
        work: Computations of this configuration, or of the default one; None if it could not be built.
        first: Forecast of its trial with an empty feature cache; None if there is none.
        cached_s: Seconds of this trial if all its features are in the cache.
        proposal_s: Mean seconds of a proposed trial; None without any.
        known, proposed: Number of trials of each engine.
        time_s: Seconds of all trials of the first engine.
        scoring_s: Seconds for scoring its best trial.
    """

    info: FamilyInfo
    configuration: Mapping[str, Value]
    different: Mapping[str, Value]
    work: Work | None
    first: Forecast | None
    cached_s: float | None
    proposal_s: float | None
    known: int
    proposed: int
    time_s: float
    scoring_s: float


@dataclass(frozen=True)
class RunEstimate:
    """Predicted cost of a run; `low_s` to `high_s` is a 90 % interval of `time_s`.

    Attributes:
        preparation_s: Seconds until the first trial, with what this plan has left in the cache.
        search_s: Seconds for the trials of all engines.
        closing_s: Seconds for scoring the best trials and for the page.
        trials: Number of trials of each engine.
        unreached: Families that get no trial.
    """

    plan: SearchPlan
    families: tuple[FamilyEstimate, ...]
    trials: int
    unreached: tuple[str, ...]
    preparation_s: float
    search_s: float
    closing_s: float
    time_s: float
    low_s: float
    high_s: float
    warnings: tuple[str, ...] = ()


def plan(config: RunConfig, progress: Progress = SILENT, pool: Pool | None = None) -> RunEstimate:
    """Open the pictures, build every family once and estimate the run; nothing is trained, downloaded or recorded.

    Raises:
        UsageError: A setting, the pictures or a family's file is wrong.
    """
    start_s = time.monotonic()
    chosen = spaces.select(config.spaces)
    engines.check_installed(config.engines)
    warnings: list[str] = []
    with contextlib.closing(pool or workers.start(config)) as pool:
        dataset = data.open(config, progress.stage, cache.folder())
        progress.data(dataset.info(), config)
        opened = further.open(config, dataset, progress.stage)
        opened_s = time.monotonic() - start_s
        prepared, _ = preparation.prepare(
            config,
            chosen,
            dataset,
            pool,
            progress,
            warn=warnings.append,
            download=False,
            proposals=0 if config.only_known else PROPOSALS,
        )
    families = preparation.searchable(config, prepared)
    forecaster = Forecaster(config, dataset.info(), families, pool.cache)
    families = cheapest_first(families, forecaster)
    reusable = all(is_pure(family.path) and not family.warnings for family in families)
    preparation_s = max(IMPORT_S, opened_s if reusable else time.monotonic() - start_s)
    pictures = sum(record.n * len(record.names) for record, _ in opened)
    estimated = estimate(config, families, forecaster, preparation_s, pictures)
    warnings += [f"{family.path}: {warning}" for family in families for warning in family.warnings]
    warnings += filter(None, [unaffordable(config, families, forecaster)])
    return replace(estimated, warnings=tuple(dict.fromkeys(warnings)))


def estimate(
    config: RunConfig,
    families: Sequence[Family],
    forecaster: Forecaster,
    preparation_s: float,
    further_pictures: int = 0,
) -> RunEstimate:
    """Estimate a run of families that are ready, with so many pictures of further test sets."""
    division, engine_count = make_plan(config, families), len(config.engines)
    learns = not config.engines[0].endswith((":random", ":grid"))
    simulated = [_SimulatedFamily(family, forecaster, learns, further_pictures) for family in families]
    limit_s = math.inf if division.seconds is None else engine_count * division.seconds
    closing_s = PAGE_S + sum(family.scoring_s for family in simulated)
    _simulate(simulated, division, config.workers * (limit_s - preparation_s - closing_s) / engine_count)
    closing_s = PAGE_S + sum(family.scoring_s for family in simulated if family.trials)
    search_s = sum(family.known_s + engine_count * family.proposed_s for family in simulated) / config.workers
    total_s = limit_s if any(family.is_cut for family in simulated) else preparation_s + search_s + closing_s
    variance = sum(family.variance(engine_count) for family in simulated) / config.workers**2
    width = math.log1p(Z * math.sqrt(variance) / total_s)
    return RunEstimate(
        plan=division,
        families=tuple(family.estimate() for family in simulated),
        trials=sum(family.trials for family in simulated),
        unreached=tuple(family.name for family in simulated if not family.trials),
        preparation_s=preparation_s,
        search_s=search_s,
        closing_s=closing_s,
        time_s=min(limit_s, total_s),
        low_s=min(limit_s, total_s * math.exp(-width)),
        high_s=min(limit_s, total_s * math.exp(width)),
    )


def unaffordable(config: RunConfig, families: Sequence[Family], forecaster: Forecaster) -> str:
    """Return a warning if no trial of a family that can learn fits into the time budget; else ""."""
    costs: dict[str, float] = {}
    for family in families:
        work = next(_works(family), None) if family.info.learns else None
        if (cost_s := forecaster.trial_s(family.name, work)) is not None:
            costs[family.name] = cost_s
    cheapest, budget_s = min(costs, key=lambda name: costs[name], default=""), config.budget.seconds
    if budget_s is None or not cheapest or costs[cheapest] <= budget_s:
        return ""
    others = listing([family.name for family in families if family.name not in costs])
    buys = f"nothing but {others}" if others else "no complete trial"
    return f"{cheapest} takes about {seconds(costs[cheapest])}: {seconds(budget_s)} buy {buys}"


def _works(family: Family) -> Iterator[Work]:
    """Yield the works of the known configurations, then that of the default one."""
    yield from (work for work in (*family.works, *family.other_works[:1]) if work is not None)


def _simulate(families: Sequence[_SimulatedFamily], plan: SearchPlan, seconds: float) -> None:
    """Simulate the trials of one engine within these seconds, chosen as in a search that divides them evenly."""
    left_s = seconds
    for _ in range(plan.trials or MAX_TRIALS):
        while candidates := [family for family in families if not family.is_done(plan)]:
            family = evenly(candidates, plan)[0]
            if family.begin(is_known_due(family, families, plan), left_s):
                break
        if not candidates:
            return
        left_s = seconds - sum(family.spent_s() for family in families)


class _SimulatedFamily:
    """The trials of a family in a simulated search.

    Args:
        learns: Whether the engine learns from results.
        further: Number of pictures of further test sets.

    Attributes:
        known, proposed: Number of trials.
        known_s, proposed_s: Their seconds.
        is_cut: True if another trial does not fit into the time.
    """

    def __init__(self, family: Family, forecaster: Forecaster, learns: bool, further: int) -> None:
        self.name, self._family, self._forecaster = family.name, family, forecaster
        self.known = self.proposed = 0
        self.known_s = self.proposed_s = 0.0
        self.is_cut = False
        self._works = list(_works(family)) or [Work()]
        self._proposals = family.proposed_works or self._works
        self._learns = learns
        self._views: dict[object, int] = {}  # of the features that its trials have computed
        self._costs: list[float] = []  # of the proposals
        self.scoring_s = forecaster.scoring_s(family.name, self._works[0], further)

    @property
    def trials(self) -> int:
        return self.known + self.proposed

    @property
    def known_trials(self) -> int:
        return self.known

    def spent_s(self) -> float:
        return self.known_s + self.proposed_s

    def is_done(self, plan: SearchPlan) -> bool:
        """Return whether it gets no more trials."""
        only = plan.only_known and self.known >= len(self._family.known)
        all_tried = self._family.info.configurations is not None and self.trials >= self._family.info.configurations
        return self.is_cut or only or all_tried or (self.name in plan.baselines and self.trials > 0)

    def begin(self, known: bool, left_s: float) -> bool:
        """Add a trial, of a known configuration if one is left; return False if it does not fit into the time."""
        known = known and self.known < len(self._family.known)
        work = self._works[min(self.known, len(self._works) - 1)] if known else self._proposal()
        cost_s = self._cost_s(work)
        if cost_s > left_s:
            self.is_cut = True
            return False
        self._views |= {key: max(views, self._views.get(key, 0)) for key, views in _features(work)}
        if known:
            self.known, self.known_s = self.known + 1, self.known_s + cost_s
        else:
            self.proposed, self.proposed_s = self.proposed + 1, self.proposed_s + cost_s
            self._costs.append(cost_s)
        return True

    def _proposal(self) -> Work:
        """Return the next proposal's work."""
        if self._learns and self.proposed:
            middle = sorted(self._proposals, key=self._cost_s)[(len(self._proposals) - 1) // 2]
            return (self._proposals[0], middle, self._works[0])[self.proposed % 3]
        return self._proposals[self.proposed % len(self._proposals)]

    def _cost_s(self, work: Work) -> float:
        """Forecast a trial, with the features that its family's trials have computed."""
        cost_s = self._forecaster.trial_s(self.name, self._with_features(work))
        return UNKNOWN_S if cost_s is None else cost_s

    def variance(self, engine_count: int) -> float:
        """Return the variance of the seconds of its trials, those of all engines."""
        first = self._forecaster.forecast(self.name, self._works[0])
        spread = math.log(first.high_s / first.time_s) / Z if first else 0.0
        total_s = self.known_s + engine_count * self.proposed_s
        unknown = max(0, engine_count * self.proposed - 1)
        return (total_s * math.expm1(spread)) ** 2 + unknown * pvariance(map(self._cost_s, self._proposals))

    def estimate(self) -> FamilyEstimate:
        """Return the estimate."""
        work = next(_works(self._family), None)
        configuration = next(iter(self._family.known), {})
        defaults = {hyperparameter.name: hyperparameter.default for hyperparameter in self._family.space}
        return FamilyEstimate(
            info=self._family.info,
            configuration=configuration,
            different={name: value for name, value in configuration.items() if defaults.get(name) != value},
            work=work,
            first=self._forecaster.forecast(self.name, work) if work else None,
            cached_s=self._forecaster.trial_s(self.name, work.with_cached(1.0)) if work else None,
            proposal_s=fmean(self._costs) if self._costs else None,
            known=self.known,
            proposed=self.proposed,
            time_s=self.spent_s(),
            scoring_s=self.scoring_s,
        )

    def _with_features(self, work: Work) -> Work:
        """Return a work with the share of its features that its family's trials have computed."""
        return work.with_cached(*(min(1.0, self._views.get(key, 0) / views) for key, views in _features(work)))


def _features(work: Work) -> Iterator[tuple[object, int]]:
    """Yield a key of each phase's features and their number of views."""
    for phase in work.phases:
        yield (work.input_size, phase.prefix_macs, phase.row_bytes), phase.views
