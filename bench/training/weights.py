"""ImageNet weights of Keras applications: which file holds them, and does it load?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras.src.utils import file_utils

from bench.hyperparameters import Value
from bench.training.messages import WeightsFile

INPUT_SHAPE = (224, 224, 3)
"""The 224-pixel file of a backbone without its top serves every input size."""


class _Missing(Exception):
    """Leaves an application before it downloads anything."""


def look(application: Callable[..., Any], options: Mapping[str, Value]) -> WeightsFile | None:
    """Find an application's weights file, and load it if it is there; None where the application asks for no file.

    The application is built with its ImageNet weights, and stopped where it would download them into the Keras cache
    (`KERAS_HOME`).
    """
    asked: dict[str, str] = {}

    def get_file(fname: str = "", origin: str = "", cache_subdir: str = "", **checksums: Any) -> str:
        path = Path(file_utils.config.keras_home()).expanduser().absolute() / (cache_subdir or "models") / fname
        checksum = checksums.get("file_hash") or checksums.get("md5_hash") or ""
        asked.update(url=origin, path=str(path), hash=checksum)
        if not path.is_file():
            raise _Missing
        return str(path)

    missing, problem = False, ""
    try:
        with _instead_of_downloads(get_file), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            application(include_top=False, weights="imagenet", input_shape=INPUT_SHAPE, **options)
    except _Missing:
        missing = True
    except Exception as error:
        if not asked:
            raise
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if not asked:
        return None
    return WeightsFile(application.__name__, dict(options), **asked, missing=missing, problem=problem)


@contextmanager
def _instead_of_downloads(get_file: Callable[..., str]) -> Iterator[None]:
    """Have Keras call this function where it would download a file."""
    original = file_utils.get_file
    file_utils.get_file = get_file
    try:
        yield
    finally:
        file_utils.get_file = original
