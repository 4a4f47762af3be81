"""`bench data`: audit and split the pictures without training."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from bench.cli.options import add_setting, output, read_config, written
from bench.config import DATA, READING, SETTINGS, Budget, RunConfig
from bench.errors import ConfigError
from bench.records import SplitInfo
from bench.report.inventory import Inventory
from bench.text import harmless, interval, one_line, percent, plain, plural, thousands

if TYPE_CHECKING:  # heavy
    from rich.table import Table

    from bench.data.leak import LeakEstimate

SUMMARY = "audit the pictures: classes, problems and the split; nothing is trained"


SPLIT = (*READING, "images", "limit", "split", "folds", "near_duplicates", "masks", "group_by", "input_sizes", "seed")
"""Settings, besides the data, that determine the pictures and the split."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="PATH-OR-NAME", nargs="?", help=DATA)
    for name in SPLIT:
        add_setting(parser.add_argument, name)
    parser.add_argument("--out", metavar="FILE", help="write the split to FILE, for `run --split-file FILE`")
    parser.add_argument("--all", action="store_true", help="list every class, and every picture with a problem")
    parser.add_argument(
        "--leak",
        action="store_true",
        help="also measure what groups (--group-by, or those that names suggest) give away: the accuracy of a linear "
        "classifier where they are split at random, and where they stay together",
    )
    parser.add_argument("--json", action="store_true", help="print only JSON")


def run(options: argparse.Namespace) -> int:
    if not options.data:
        raise ConfigError("data: name the pictures, e.g. `python -m bench data photos/` or `… data drawn`")
    config = read_config(options, ("data", *SPLIT))
    out = output("out", options.out, "split.json") if options.out else None
    from bench import data
    from bench.cli.console import progress_on_stderr
    from bench.data import leak

    with progress_on_stderr(silent=options.json) as progress:
        dataset = data.open(config, progress.stage)
        estimate = leak.measure(dataset, config.group_by, config.seed, progress.stage) if options.leak else None
    if out:
        with written(out):
            dataset.write(out)
    if options.json:
        print(_as_json(dataset.info(), config, estimate))
    else:
        print_inventory(dataset.info(), config, every=options.all)
        if estimate:
            print(harmless(f"\n{_leak(estimate)}"))
        print(harmless(f"\nto search it: {one_line(_search_command(options))}"))
    return 0


def _search_command(options: argparse.Namespace) -> str:
    words = ["python", "-m", "bench", "run", "--budget", str(Budget.trials)]
    if options.out:
        return shlex.join([*words, "--split-file", options.out])
    for name in ("data", *SPLIT):
        if (text := getattr(options, name)) is not None:
            words += [SETTINGS[name].flag, text]
    return shlex.join(words)


def _as_json(split: SplitInfo, config: RunConfig, leak: LeakEstimate | None) -> str:
    audit = Inventory(split, config)
    balance = asdict(audit.balance) if audit.balance else None
    content = {
        **asdict(split),
        "balance": balance,
        "warnings": [plain(warning) for warning in audit.warnings],
        **({"leak": asdict(leak)} if leak else {}),
    }
    return json.dumps(content, indent=1)


def _leak(leak: LeakEstimate) -> str:
    """Both accuracies of a leak, and what they say."""
    random, grouped = (f"{percent(value)} ({interval(low, high)})" for value, low, high in (leak.random, leak.grouped))
    leaks = leak.grouped[0] < leak.random[1]
    says = "pictures of a group give each other away: keep them together" if leaks else "no leak is seen"
    return (
        f"leak     a linear classifier on {thousands(leak.pictures)} small pictures in {thousands(leak.groups)} groups "
        f"is right for {random} where pictures are split at random, for {grouped} where groups stay together "
        f"(always the largest class: {percent(leak.chance)}): {says}"
    )


SHOWN_CLASSES = 20
"""Maximum number of classes listed: the largest and the smallest; the others are counted."""

SHOWN_PICTURES = 3
"""Maximum number of pictures listed for each kind of finding; the others are counted."""


def print_inventory(split: SplitInfo, config: RunConfig, every: bool = False, stream: TextIO | None = None) -> None:
    """Print the classes of the pictures, their split and their problems; with `every`, full lists."""
    from bench.cli.terminal import printable, printing

    audit = Inventory(split, config)
    with printing(stream) as console:
        console.print(printable(f"{audit.headline}\n"), soft_wrap=True)
        console.print(_class_table(audit, every))
        for line in _account(audit, None if every else SHOWN_PICTURES):
            console.print(printable(line), soft_wrap=True)


def _class_table(audit: Inventory, every: bool) -> Table:
    from rich.table import Table

    from bench.cli.terminal import printable

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    for name in (*audit.parts, "all", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    rows, half = audit.rows, SHOWN_CLASSES // 2
    hidden = [] if every or len(rows) <= SHOWN_CLASSES else rows[half:-half]
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


def _account(audit: Inventory, limit: int | None) -> Iterator[str]:
    split = audit.split
    yield ""
    if audit.balance:
        yield f"balance  {audit.balance}"
    sides = f"input sizes {', '.join(map(str, split.input_sizes))}" if split.input_sizes else ""
    yield f"sizes    {'; '.join(part for part in (audit.sizes, audit.depth, sides) if part)}"
    yield f"split    sha256 {split.sha256}"
    if audit.given_groups:
        yield f"groups   {audit.given_groups}"
    yield ""
    for guess in split.guesses:
        yield f"note: {one_line(guess)}"
    if audit.sound:
        yield audit.sound
    for warning in audit.warnings:
        yield f"warning: {warning}"
    if audit.left_out:
        yield f"left out: {plural(audit.lost, 'picture')}"
    for title, pictures in audit.left_out.items():
        yield f"  {title}: {thousands(len(pictures))}"
        lines = (f"{one_line(id)} {f'({one_line(detail)})' if detail else ''}" for id, detail in pictures)
        yield from _first(lines, limit)
    if audit.alike:
        yield audit.groups
        yield from _first((_group(group, audit) for group in audit.alike), limit)
    for title, counts in (("ignored", audit.ignored), ("corrected while decoding", audit.noticed)):
        if counts:
            yield f"{title}: {', '.join(f'{one_line(reason)} {thousands(count)}' for reason, count in counts)}"


def _group(group: Sequence[str], audit: Inventory) -> str:
    remarks = [*audit.changes.get(tuple(group), ()), *["several labels"] * (group in audit.split.contradicting)]
    return ", ".join(map(one_line, group)) + (f" ({', '.join(remarks)})" if remarks else "")


def _first(lines: Iterable[str], limit: int | None) -> Iterator[str]:
    all_lines = list(lines)
    yield from (f"    {line.rstrip()}" for line in all_lines[:limit])
    if limit is not None and len(all_lines) > limit:
        yield f"    … {thousands(len(all_lines) - limit)} more, --all lists them"
