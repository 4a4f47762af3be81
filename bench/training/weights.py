"""Which file holds the ImageNet weights of a Keras application, and whether a file really does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import keras
from keras.src.utils import file_utils

INPUT_SHAPE = (224, 224, 3)
"""The 224-pixel file of a backbone without its top serves every input size."""


class _Wanted(BaseException):
    """Carries what an application asks `get_file` for out of it, before anything is downloaded."""


def weights_file(application: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, str] | None:
    """Where an application's ImageNet weights are kept and come from.

    Nothing is downloaded: the application is asked for its weights, and stopped when it asks for their file.

    Returns:
        `url`, `path` (in the Keras cache, `KERAS_HOME`) and `hash` ("" where Keras gives none); None where the
        application asks for no file.
    """

    def get_file(fname: str = "", origin: str = "", cache_subdir: str = "", **about: Any) -> None:
        path = Path(file_utils.config.keras_home()).expanduser().absolute() / (cache_subdir or "models") / fname
        raise _Wanted({"url": origin, "path": str(path), "hash": about.get("file_hash") or about.get("md5_hash") or ""})

    try:
        with mock.patch.object(file_utils, "get_file", get_file):
            application(include_top=False, weights="imagenet", input_shape=INPUT_SHAPE, **options)
    except _Wanted as wanted:
        found: dict[str, str] = wanted.args[0]
        return found
    return None


def check(application: str, options: Mapping[str, Any], path: str) -> None:
    """Loads a weights file into its application; raises what Keras or h5py raise where it does not fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(keras.applications, application)(include_top=False, weights=path, input_shape=INPUT_SHAPE, **options)
