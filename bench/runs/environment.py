"""Environment of a run: versions, hardware, git commit. Read without importing any of the packages."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "tensorflow keras keras-tuner optuna scikit-learn numpy pandas plotly pillow simplejpeg opencv-python-headless"
).split()


def describe(gpus: Sequence[str] = ()) -> dict[str, Any]:
    """Describe the environment as plain data, without the user's home or environment variables."""
    from bench.data import machine

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "cpu": _cpu(),
        "cores": machine.core_count(),
        "memory_gb": round(machine.memory_mb() / 1000, 1),
        "gpus": list(gpus),
        "git_commit": git_commit(),
    }


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


def git_commit() -> str:
    """The commit of the folder that the command was started in, with "+" where files were changed; "" outside git."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if commit and _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
