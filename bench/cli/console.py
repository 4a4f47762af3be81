"""Progress and results: one live line during a run in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from bench.cli.terminal import Terminal, fitting_table, printable, printing
from bench.config import RunConfig
from bench.metrics import metric
from bench.records import COMPLETE, FAIL, PRUNED, Ending, FamilyInfo, Run, SearchPlan, SplitInfo, Trial
from bench.report.inventory import Inventory
from bench.report.sections.feature_cache import savings
from bench.report.sections.further_sets import shift_sentences
from bench.report.sections.leaderboard import further_metrics
from bench.report.sections.more_pictures import worth_of_more
from bench.report.sections.notices import hidden_classes
from bench.report.sections.screened import estimate, hits
from bench.report.sections.shortcut_notice import shortcut
from bench.report.sections.verdict import no_result, verdict
from bench.runs.standings import standings
from bench.search.progress import Progress
from bench.text import (
    NOTHING,
    clean,
    count,
    figure,
    label,
    mean_of_seeds,
    metric_name,
    milliseconds,
    one_line,
    over_folds,
    plain,
    plural,
    refusals,
    search_plan,
    seconds,
    shorten,
    validation,
    with_weights,
)

STAGE_LINE_EVERY_S = 5.0
"""Minimum seconds between two progress lines of one stage, without a terminal."""


@contextlib.contextmanager
def progress_on_stderr(silent: bool) -> Iterator[Progress]:
    """Show progress on standard error, and remove the live line at the end; show nothing if `silent`."""
    if silent:
        yield Progress()
        return
    with contextlib.closing(ConsoleProgress()) as progress:
        yield progress


@contextlib.contextmanager
def progress_in_python(wanted: bool | None) -> Iterator[Progress]:
    """Show progress to a caller in Python, and the page's path at the end; None: in a terminal and a notebook only."""
    notebook = Terminal().is_jupyter
    if wanted is False or (wanted is None and not notebook and not Terminal(file=sys.stderr).is_terminal):
        yield Progress()
        return
    with contextlib.closing(NotebookProgress() if notebook else PythonProgress()) as progress:
        yield progress


class ConsoleProgress(Progress):
    """Prints a run's progress, to standard error by default, so that standard output has results only."""

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._console = Terminal(file=stream, highlight=False, soft_wrap=True, force_jupyter=False)
        self._live = self._console.is_terminal
        self._bar: Bar | None = None
        self._task: Any = None
        self._stage, self._stage_shown_s = "", 0.0
        self._began_s = time.monotonic()
        self._trials: int | None = None
        self._seconds: float | None = None
        self._done = self._folds = self._repeats = 0
        self._metric = metric("accuracy")
        self._best = ""
        self._width = 0
        self._running: dict[int, str] = {}

    # -- before the search

    def stage(self, name: str, done: int, total: int) -> None:
        """Show a bar for each stage; without a terminal, a line at its start and every few seconds."""
        if self._live:
            self._show(name, done, total)
            return
        now = time.monotonic()
        if name != self._stage:
            self._print(f"{name} …")
        elif now - self._stage_shown_s > STAGE_LINE_EVERY_S and done < total > 1:
            self._print(f"{name}: {done} of {total}")
        else:
            return
        self._stage, self._stage_shown_s = name, now

    def data(self, split: SplitInfo, config: RunConfig) -> None:
        self._hide()
        self._folds, self._repeats, self._metric = split.folds, config.repeats, metric(config.metric[0])
        audit = Inventory(split, config)
        self._print(f"data: {audit.headline}")
        if audit.findings:
            self._print(f"  {audit.findings}; the report lists them")
        for guess in split.guesses:
            self._print(f"  note: {one_line(guess)}")
        for warning in audit.warnings:
            self.warning(warning)

    def warning(self, text: str) -> None:
        self._hide()
        self._console.print(f"[yellow]warning:[/yellow] {printable(text)}")

    def begin(self, families: list[FamilyInfo], folder: Path, plan: SearchPlan) -> None:
        self._hide()
        engines = len(plan.engines)
        self._trials = None if plan.trials is None else plan.trials * engines
        self._seconds = None if plan.seconds is None else plan.seconds * engines
        self._began_s = time.monotonic()
        names = [with_weights(family.name, family.weights) for family in families]
        self._width = max(map(len, names), default=0)
        self._print(f"families: {', '.join(names)}")
        self._print(f"plan: {search_plan(plan)}")
        self._print(f"watch it grow: {folder / 'report.html'}")

    def screened(self, run: Run) -> None:
        """Print the estimate of every family, and the reasons for missing ones."""
        self._hide()
        chosen = [screening for family in run.families if (screening := run.screening(family.name))]
        if estimates := [f"{one.family} {estimate(one)}" for one in chosen if one.accuracy is not None]:
            self._print(f"screened: {', '.join(estimates)}")
        reasons: dict[str, list[str]] = {}
        for screening in chosen:
            if screening.accuracy is None:
                reasons.setdefault(screening.reason, []).append(screening.family)
        for reason, names in reasons.items():
            self._print(f"not screened: {', '.join(names)} ({reason})")

    # -- the search

    def trial_began(self, order: int, family: str, engine: str) -> None:
        self._running[order] = f"{family} · {engine}"
        self._show_search(order, "")

    def epoch(self, order: int, epoch: int, epochs: int, value: float, fold: int, folds: int) -> None:
        """Show the epoch on the live line; nothing without a terminal."""
        where = f"fold {fold} of {folds}, " if folds else ""
        of = f" of {epochs}" if epoch <= epochs else ""  # epochs count through both phases, the limit is per phase
        self._show_search(order, f"{where}epoch {epoch}{of}, {figure(value, self._metric)}")

    def trial_ended(self, trial: Trial, best: Trial | None) -> None:
        """Print a line for the trial, with the best so far, the elapsed time and the time to go."""
        if trial.order == 0:  # answered from the record, nothing was trained
            return
        self._running.pop(trial.order, None)
        self._done += 1
        self._best = f"best {figure(best.value, metric(best.metric))} {best.family}" if best else "no result yet"
        elapsed = time.monotonic() - self._began_s
        of = f" of {self._trials}" if self._trials else ""
        line = (
            f"trial {trial.order:>3}{of}  {label(trial):<{self._width}}  {trial.engine:<21} {_outcome(trial):<22} "
            f"{self._best}  {seconds(elapsed)}{self._to_go(elapsed)}"
        )
        self._hide()
        self._print(line.rstrip())

    def scoring(self, family: str, done: int, total: int) -> None:
        doing = (
            f"training the best {family} on all folds and scoring it" if self._folds else f"scoring the best {family}"
        )
        seeds = f", and training it with {plural(self._repeats, 'other seed')}" if self._repeats else ""
        self.stage(plain(f"{doing} on the test pictures{seeds}"), done, total)

    def end(self, run: Run, report: Path) -> None:
        self._hide()

    def close(self) -> None:
        """Remove the live line."""
        self._hide()

    # -- inside

    def _print(self, text: str) -> None:
        self._console.print(printable(text))

    def _show_search(self, order: int, detail: str) -> None:
        if not self._live:
            return
        elapsed = time.monotonic() - self._began_s
        what = f"trial {order}{f' of {self._trials}' if self._trials else ''} · {self._running.get(order, '')}"
        parts = [what, detail, self._best, f"{seconds(elapsed)}{self._to_go(elapsed)}"]
        total = self._trials or self._seconds or 0
        self._show(" · ".join(part for part in parts if part), self._done if self._trials else elapsed, total)

    def _to_go(self, elapsed: float) -> str:
        """Remaining time, from the trials so far or the time budget; "" while unknown."""
        guesses = []
        if self._trials and self._done:
            guesses.append(elapsed / self._done * max(0, self._trials - self._done))
        if self._seconds:
            guesses.append(max(0.0, self._seconds - elapsed))
        return f", {seconds(min(guesses))} to go" if guesses and min(guesses) > 0 else ""

    def _show(self, text: str, done: float, total: float) -> None:
        if self._bar is None:
            self._bar = Bar(
                BarColumn(bar_width=20), TextColumn("{task.description}"), console=self._console, transient=True
            )
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
        self._bar.update(self._task, description=printable(text), completed=done, total=total or None)

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class PythonProgress(ConsoleProgress):
    """Ends with the path of the page, which the command line prints with the leaderboard."""

    def end(self, run: Run, report: Path) -> None:
        super().end(run, report)
        self._print(f"report: {report}")


class NotebookProgress(PythonProgress):
    """Shows the live line in the output of a notebook's cell, where it is replaced in place."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self._live = True
        self._line: Any = None

    def _show(self, text: str, done: float, total: float) -> None:
        filled = round(20 * min(done / total, 1.0)) if total else 0
        self._replace(f"{'█' * filled}{'░' * (20 - filled)} {plain(clean(text))}")

    def _hide(self) -> None:
        if self._line is not None:
            self._replace("")

    def _replace(self, text: str) -> None:
        shown = {"text/plain": text}
        if self._line is None:
            display = importlib.import_module("IPython.display").display  # a notebook has it
            self._line = display(shown, raw=True, display_id=True)
        else:
            self._line.update(shown, raw=True)


def _outcome(trial: Trial) -> str:
    if trial.duplicate_of:
        return f"{figure(trial.value, metric(trial.metric))} (from the record)"
    if trial.state == COMPLETE:
        took = f", {seconds(trial.cost.train_time_s)}" if trial.cost else ""
        cut = f", {trial.note}" if trial.cut else ""
        return f"{validation(trial)}{took}{cut}"
    if trial.state == PRUNED:
        return trial.note if trial.ending is Ending.BUDGET else f"PRUNED after epoch {trial.epochs or '0'}"
    if trial.state == FAIL and trial.failure:
        failure = trial.failure
        place = f"{failure.place}: " if failure.place else ""
        return f"FAIL {place}{failure.name}: {shorten(failure.message, 60)}"
    return trial.state


def print_board(run: Run, report: Path, stream: TextIO | None = None) -> None:
    """Print the leaderboard, the families without a result, and the path of the page."""
    ranking = run.ranking()
    with printing(stream) as console:
        if ranking:
            console.print(_board(run, ranking, console.width))
        for line in (*_remarks(run, ranking), f"report: {report}"):
            console.print(printable(line), soft_wrap=True)


def _remarks(run: Run, ranking: Sequence[Trial]) -> Iterator[str]:
    for family in run.families:
        if run.best(family.name) is None:
            yield f"{family.name}: {no_result(run, family)}"
    if mean := mean_of_seeds(ranking):
        includes = "the interval includes the noise of the test pictures and of the seeds"
        yield f"test {metric_name(run.metric)}: {mean}; {includes}"
    if refused := refusals(run.trials, run.config):
        yield refused
    if ranking and run.split.folds:
        yield f"validation: {over_folds(run.split.folds)}"
    yield verdict(run).headline
    yield from map(plain, hidden_classes(run)[-1:])  # the headline says the rest
    if shifts := " ".join(shift_sentences(run)):
        yield plain(shifts)
    if noticed := shortcut(run):
        yield f"{noticed.level}: {noticed}"
    yield from worth_of_more(run)
    if quality := hits(run):
        yield quality
    if saved := savings(run):
        yield saved
    yield from (f"note: {note}" for note in run.notes)


COSTS = ("training time", "parameters", "validation", "latency", "input", "engine")
"""Last columns of the leaderboard, the most important first; the last ones are left out in a narrow terminal."""


def _board(run: Run, ranking: Sequence[Trial], width: int) -> Table:
    places, others = standings(run), [other for other in further_metrics(run) if not other.optional]
    ranks = (str(places[trial.family].rank) if trial.family in places else NOTHING for trial in ranking)
    more = [[other.words(trial.family)[0] or NOTHING for other in others] for trial in ranking]
    names = [f"test {metric_name(by)}" for by in (run.metric, *(other.metric for other in others))]
    columns = ("family", names[0], "95 % interval", *names[1:], *COSTS)
    return fitting_table(columns, map(_cells, ranks, ranking, more), width, left=("family", "engine"))


def _cells(rank: str, trial: Trial, others: Sequence[str]) -> Iterable[str]:
    """The cells of a trial's row, in the order of the columns."""
    cost, (value, low, high), by = trial.cost, trial.test_with_interval, metric(trial.metric)
    yield f"{rank} {label(trial)}"
    yield figure(value, by)
    yield (
        NOTHING
        if low is None or high is None
        else " to ".join(f"{100 * end:.1f}" if by.percent else f"{end:.3f}" for end in (low, high))
    )
    yield from others
    yield seconds(cost.train_time_s) if cost else NOTHING
    yield count(cost.parameters) if cost else NOTHING
    yield validation(trial)
    yield milliseconds(cost.latency_ms if cost else None)
    yield f"{trial.input_size} px" if trial.input_size else NOTHING
    yield trial.engine
