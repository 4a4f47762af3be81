"""Environment of a run: versions, hardware, git commits, read without importing the packages."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import bench

PACKAGES = (
    "tensorflow keras keras-tuner optuna scikit-learn numpy pandas plotly pillow simplejpeg opencv-python-headless"
).split()


def describe(gpus: Sequence[str] = (), folders: Sequence[Path] = ()) -> dict[str, Any]:
    """Describe the environment as plain data, without the user's home or environment variables; see `commits`."""
    from bench.data import machine

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": packages(),
        "cpu": _cpu(),
        "cores": machine.core_count(),
        "memory_gb": round(machine.memory_mb() / 1000, 1),
        "gpus": list(gpus),
        **commits(folders),
    }


def packages() -> dict[str, str]:
    """Versions of the installed packages that affect results, by name."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commits(folders: Sequence[Path] = ()) -> dict[str, str]:
    """Git commits of the code, with "+" if files were changed; "" outside git.

    Returns:
        `git_commit`, that of the suite if it is a checkout and not installed; `project_commit`, that of the first of
        these folders, or else of the current folder, that is under git.
    """
    suite = Path(bench.__file__).parent
    tracked = _git(suite, "ls-files", "__init__.py")  # an installed suite may be inside the checkout of a project
    return {
        "git_commit": _commit(suite) if tracked else "",
        "project_commit": next(filter(None, map(_commit, [*folders, Path()])), ""),
    }


def _commit(folder: Path) -> str:
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    return commit + ("+" if commit and _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""
