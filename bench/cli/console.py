"""Progress and results in the terminal: one live line during a run, plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from bench.config import RunConfig
from bench.records import COMPLETE, FAIL, PRUNED, Ending, FamilyInfo, Run, SplitInfo, Trial
from bench.report.inventory import Inventory, inventory
from bench.report.sections.verdict import no_result, savings, test_interval, verdict
from bench.search.progress import Progress
from bench.text import (
    NOTHING,
    clean,
    count,
    label,
    mean_of_seeds,
    milliseconds,
    one_line,
    over_folds,
    percent,
    plain,
    plural,
    seconds,
    shorten,
    thousands,
    validation,
    with_weights,
)

STAGE_LINE_EVERY_S = 5.0
"""Minimum seconds between two progress lines of long work, without a terminal."""


@contextlib.contextmanager
def progress_on_stderr(silent: bool) -> Iterator[Progress]:
    """Show a run's progress on standard error and clean up at the end; show nothing if `silent`."""
    if silent:
        yield Progress()
        return
    with contextlib.closing(ConsoleProgress()) as progress:
        yield progress


class Terminal(Console):
    """Raise BrokenPipeError for the command line where the reader of a pipe has gone; rich would exit with 1."""

    def on_broken_pipe(self) -> NoReturn:
        raise  # what is being handled


class ConsoleProgress(Progress):
    """Print a run's progress to a stream.

    Args:
        stream: Where to, standard error by default, so that standard output holds results only.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        self._console = Terminal(file=stream, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal
        self._bar: Bar | None = None
        self._task: Any = None
        self._stage, self._stage_told_s = "", 0.0
        self._began_s = time.monotonic()
        self._trials: int | None = None
        self._seconds: float | None = None
        self._done = self._folds = self._repeats = 0
        self._best = ""
        self._width = 0
        self._running: dict[int, str] = {}

    # -- before the search

    def stage(self, what: str, done: int, total: int) -> None:
        """Show a bar for each kind of work; without a terminal, a line at its start and now and then."""
        if not what:
            return
        if self._live:
            self._show(what, done, total)
            return
        now = time.monotonic()
        if what != self._stage:
            self._print(f"{what} …")
        elif now - self._stage_told_s > STAGE_LINE_EVERY_S and done < total > 1:
            self._print(f"{what}: {done} of {total}")
        else:
            return
        self._stage, self._stage_told_s = what, now

    def data(self, split: SplitInfo, config: RunConfig) -> None:
        """Print the summary of the pictures and of their faults, a line each."""
        self._hide()
        self._folds, self._repeats = split.folds, config.repeats
        audit = inventory(split, config)
        self._print(f"data: {audit.headline}")
        if audit.findings:
            self._print(f"  {audit.findings}; the report lists them")
        for warning in audit.warnings:
            self.warning(warning)

    def warning(self, text: str) -> None:
        """Print a line that begins with `warning:`."""
        self._hide()
        self._console.print(f"[yellow]warning:[/yellow] {printable(text)}")

    def begin(self, families: list[FamilyInfo], folder: Path, trials: int | None, seconds: float | None) -> None:
        """Print the families and the path of the live page."""
        self._hide()
        self._trials, self._seconds = trials, seconds
        self._began_s = time.monotonic()
        names = [with_weights(family.name, family.weights) for family in families]
        self._width = max(map(len, names), default=0)
        self._print(f"families: {', '.join(names)}")
        self._print(f"watch it grow: {folder / 'report.html'}")

    # -- the search

    def trial_began(self, order: int, family: str, engine: str) -> None:
        """Show the trial that is in training."""
        self._running[order] = f"{family} · {engine}"
        self._show_search(order, "")

    def epoch(self, order: int, epoch: int, epochs: int, val_accuracy: float, fold: int, folds: int) -> None:
        """Show the epoch on the live line; nothing without a terminal."""
        where = f"fold {fold} of {folds}, " if folds else ""
        of = f" of {epochs}" if epoch <= epochs else ""  # epochs are counted through both phases, the cap is for each
        self._show_search(order, f"{where}epoch {epoch}{of}, {percent(val_accuracy)}")

    def trial_ended(self, trial: Trial, best: Trial | None) -> None:
        """Print a line for the trial, with the best so far, the elapsed time and the time to go."""
        if trial.order == 0:  # answered from the record, no trial of its own
            return
        self._running.pop(trial.order, None)
        self._done += 1
        self._best = f"best {percent(best.value)} {best.family}" if best else "no result yet"
        elapsed = time.monotonic() - self._began_s
        of = f" of {self._trials}" if self._trials else ""
        line = (
            f"trial {trial.order:>3}{of}  {label(trial):<{self._width}}  {trial.engine:<21} {_outcome(trial):<22} "
            f"{self._best}  {seconds(elapsed)}{self._to_go(elapsed)}"
        )
        self._hide()
        self._print(line.rstrip())

    def scoring(self, family: str, done: int, total: int) -> None:
        """Show the work on the test set, the last part of a run."""
        doing = (
            f"training the best {family} on all folds and scoring it" if self._folds else f"scoring the best {family}"
        )
        seeds = f", and training it with {plural(self._repeats, 'other seed')}" if self._repeats else ""
        self.stage(plain(f"{doing} on the test pictures{seeds}"), done, total)

    def end(self, run: Run, report: Path) -> None:
        """Remove the live line."""
        self._hide()

    def close(self) -> None:
        """Remove the live line, whatever ended the run."""
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
        """The remaining time: an estimate from the trials so far or the rest of the time budget; "" while unknown."""
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


def printable(text: str) -> str:
    """Make text safe for the terminal: no markup, no control sequences, plain spaces."""
    return escape(plain(clean(text)))


def _outcome(trial: Trial) -> str:
    if trial.duplicate_of:
        return f"{percent(trial.value)} (from the record)"
    if trial.state == COMPLETE:
        took = f", {seconds(trial.cost.train_time_s)}" if trial.cost else ""
        return f"{validation(trial)}{took}"
    if trial.state == PRUNED:
        return trial.note if trial.ending is Ending.BUDGET else f"PRUNED after epoch {trial.epochs or '0'}"
    if trial.state == FAIL and trial.failure:
        return f"FAIL {trial.failure.name}: {shorten(trial.failure.message, 60)}"
    return trial.state


def print_board(run: Run, report: Path, stream: TextIO | None = None) -> None:
    """Print the leaderboard, the families without a result, and the path of the page."""
    console = Terminal(file=stream or sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)
    ranking = run.ranking()
    if ranking:
        console.print(_board(ranking, console.width))
    for line in (*_remarks(run, ranking), f"report: {report}"):
        console.print(printable(line), soft_wrap=True)


def _remarks(run: Run, ranking: Sequence[Trial]) -> Iterator[str]:
    for family in run.families:
        if run.best(family.name) is None:
            yield f"{family.name}: {no_result(run, family)}"
    if mean := mean_of_seeds(ranking):
        yield f"test accuracy: {mean}; the interval has the test pictures and the seeds in it"
    if ranking and run.split.folds:
        yield f"validation: {over_folds(run.split.folds)}"
    yield verdict(run).headline
    if saved := savings(run):
        yield saved
    yield from (f"note: {note}" for note in run.notes)


SHOWN_CLASSES = 20
"""Maximum number of classes listed: the largest and the smallest; the others are counted."""

SHOWN_PICTURES = 3
"""Maximum number of pictures listed for each kind of finding; the others are counted."""


def print_inventory(split: SplitInfo, config: RunConfig, every: bool = False, stream: TextIO | None = None) -> None:
    """Print the classes of the pictures, their split and their faults.

    Args:
        split: The split to describe.
        config: The configuration that made it.
        every: Prints long lists in full.
        stream: Standard output by default.
    """
    console = Terminal(file=stream or sys.stdout, highlight=False, soft_wrap=True)
    audit = inventory(split, config)
    console.print(printable(f"{audit.headline}\n"))
    console.print(_class_table(audit, every))
    for line in _account(audit, split, None if every else SHOWN_PICTURES):
        console.print(printable(line))


def _class_table(audit: Inventory, every: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    for name in (*audit.parts, "all", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    rows, half = audit.rows, SHOWN_CLASSES // 2
    hidden = () if every or len(rows) <= SHOWN_CLASSES else rows[half:-half]
    for row in rows:
        if row not in hidden:
            cells = [one_line(row.name, 60), *map(thousands, (*row.counts, row.total)), percent(row.share)]
            table.add_row(*map(printable, cells))
        elif row is hidden[0]:
            table.add_row(f"… {len(hidden)} more, --all lists them")
    if len(rows) > 2:
        totals = [*map(thousands, (*audit.parts.values(), audit.total))]
        table.add_row("all", *map(printable, totals), style="bold")
    return table


def _account(audit: Inventory, split: SplitInfo, limit: int | None) -> Iterator[str]:
    yield ""
    if audit.balance:
        yield f"balance  {audit.balance}"
    sides = f"input sizes {', '.join(map(str, split.input_sizes))}" if split.input_sizes else ""
    yield f"sizes    {'; '.join(part for part in (audit.sizes, sides) if part)}"
    yield f"split    sha256 {split.sha256}"
    yield ""
    if audit.sound:
        yield audit.sound
    for warning in audit.warnings:
        yield f"warning: {warning}"
    if audit.left_out:
        yield f"left out: {plural(audit.lost, 'picture')}"
    for group in audit.left_out:
        yield f"  {group.title}: {thousands(len(group.pictures))}"
        pictures = (f"{one_line(id)} {f'({one_line(detail)})' if detail else ''}" for id, detail in group.pictures)
        yield from _first(pictures, limit)
    if audit.alike:
        yield audit.groups
        yield from _first((_group(group, audit) for group in audit.alike), limit)
    for title, counts in (("ignored", audit.ignored), ("put right while decoding", audit.noticed)):
        if counts:
            yield f"{title}: {', '.join(f'{one_line(what)} {thousands(count)}' for what, count in counts)}"


def _group(group: Sequence[str], audit: Inventory) -> str:
    return ", ".join(map(one_line, group)) + (" (several labels)" if group in audit.contradicting else "")


def _first(lines: Iterable[str], limit: int | None) -> Iterator[str]:
    all_lines = list(lines)
    yield from (f"    {line.rstrip()}" for line in all_lines[:limit])
    if limit is not None and len(all_lines) > limit:
        yield f"    … {thousands(len(all_lines) - limit)} more, --all lists them"


COLUMNS = ("family", "test accuracy", "95 % interval", "training time", "parameters", "validation", "latency", "input",
           "engine")  # fmt: skip
"""Columns of the leaderboard, the most important first: a narrow terminal leaves out the last ones."""


def _board(ranking: Sequence[Trial], width: int) -> Table:
    rows = [[printable(cell) for cell in _cells(rank, trial)] for rank, trial in enumerate(ranking, 1)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    used = 0
    for number, column in enumerate(COLUMNS):
        used += max(len(column), *(len(row[number]) for row in rows)) + (2 if number else 0)
        if used > width:
            break
        table.add_column(column, justify="left" if column in ("family", "engine") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    return table


def _cells(rank: int, trial: Trial) -> Iterable[str]:
    """The cells of a trial's row, in the order of `COLUMNS`."""
    cost, (accuracy, low, high) = trial.cost, test_interval(trial)
    yield f"{rank} {label(trial)}"
    yield percent(accuracy)
    yield NOTHING if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
    yield seconds(cost.train_time_s) if cost else NOTHING
    yield count(cost.parameters) if cost else NOTHING
    yield validation(trial)
    yield milliseconds(cost.latency_ms if cost else None)
    yield f"{trial.input_size} px" if trial.input_size else NOTHING
    yield trial.engine
