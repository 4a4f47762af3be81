"""Paths that a user names; see `options`."""

from bench.cli.options import BASELINE, output, run_folder, written

__all__ = ["BASELINE", "output", "run_folder", "written"]
