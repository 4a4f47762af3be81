"""Which file holds the ImageNet weights of a Keras application, and whether a file really does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from keras.src.utils import file_utils

INPUT_SHAPE = (224, 224, 3)
"""The 224-pixel file of a backbone without its top serves every input size."""


class _NotThere(BaseException):
    """Leaves an application before it downloads anything."""


def look(application: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where an application's ImageNet weights are kept and come from, and whether they are there and load.

    The application is built with its weights, and stopped where it would download them.

    Returns:
        `url`, `path` (in the Keras cache, `KERAS_HOME`), `hash` ("" where Keras gives none) and `wrong`: what is wrong
        with the file, "" if nothing, None where there is none. None where the application asks for no file.
    """
    found: dict[str, Any] = {}

    def get_file(fname: str = "", origin: str = "", cache_subdir: str = "", **about: Any) -> str:
        path = Path(file_utils.config.keras_home()).expanduser().absolute() / (cache_subdir or "models") / fname
        found.update(url=origin, path=str(path), hash=about.get("file_hash") or about.get("md5_hash") or "")
        if not path.is_file():
            raise _NotThere
        return str(path)

    try:
        with mock.patch.object(file_utils, "get_file", get_file), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            application(include_top=False, weights="imagenet", input_shape=INPUT_SHAPE, **options)
    except _NotThere:
        return {**found, "wrong": None}
    except Exception as error:
        if not found:
            raise
        return {**found, "wrong": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return {**found, "wrong": ""} if found else None
