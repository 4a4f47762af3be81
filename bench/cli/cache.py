"""`bench cache`: show or clear the cache."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bench.cache import directory
from bench.errors import unknown

SUMMARY = "show or clear the cache of pictures, features and downloads"

HELP = f"""\
Shows or clears the cache, which all runs share:

{chr(10).join(f"  {name:<12}{words}" for name, words in directory.KINDS.items())}

Pictures and features are stored by their content, so that a picture is decoded once per size and passes the same frozen
layers once. Together they take up to BENCH_CACHE_GB gigabytes (default 20, or half of the free disk space if that is
less); the least recently used entries are removed first. BENCH_CACHE names another folder. Clearing is safe at any
time: a run computes again what it needs."""

EXAMPLES = """\
examples:
  python -m bench cache
      number and size of the entries, and when they were last used
  python -m bench cache clear
      removes everything that can be computed again without the network
  python -m bench cache clear downloads
      removes downloaded data sets; `all` removes everything
  BENCH_CACHE=/large/disk BENCH_CACHE_GB=200 python -m bench run --data photos/
      uses another folder and a larger limit"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("action", metavar="clear", nargs="?", help="remove entries")
    choices, default = ", ".join((*directory.KINDS, "all")), " and ".join(directory.REPRODUCIBLE)
    parser.add_argument("kind", metavar="KIND", nargs="?", help=f"kind to clear: {choices}; default {default}")


def run(options: argparse.Namespace) -> int:
    root = directory.folder()
    if options.action == "clear":
        return _clear(root, options.kind)
    if options.action:
        raise unknown("command", options.action, ["clear"])
    cap = directory.format_size(directory.cap_bytes(root))
    print(f"folder  {root}\nlimit   {cap} of {', '.join(directory.REPRODUCIBLE)}\n")
    print(f"{'kind':<12}{'entries':>8}{'size':>12}  last used")
    for kind in directory.KINDS:
        entries = directory.entries(root, [kind])
        size = directory.format_size(sum(entry.size_bytes for entry in entries))
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entries[-1].used)) if entries else "never"
        print(f"{kind:<12}{len(entries):>8}{size:>12}  {used}")
    return 0


def _clear(root: Path, kind: str | None) -> int:
    choices = {"all": tuple(directory.KINDS), **{name: (name,) for name in directory.KINDS}}
    if kind is not None and kind not in choices:
        raise unknown("kind of cache", kind, choices)
    removed = directory.clear(root, choices[kind] if kind else directory.REPRODUCIBLE)
    print(f"freed {directory.format_size(sum(entry.size_bytes for entry in removed))} in {root}")
    return 0
