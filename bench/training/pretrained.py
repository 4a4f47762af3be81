"""ImageNet weights of a backbone: find their file in the Keras cache, and load it as the application itself does."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from bench.hyperparameters import Value
from bench.training import keras_private
from bench.training.messages import WeightsFile

INPUT_SHAPE = (224, 224, 3)
"""The 224-pixel file of one of Keras' backbones without its top serves every input size."""

Application = Callable[..., Any]
"""A function of `keras.applications`, or one that takes its arguments `include_top`, `weights` and `input_shape`."""


class _Asked(BaseException):
    """Leaves an application that asks for its file; no `except Exception` in between holds it."""


def of_keras(application: Application) -> bool:
    """True for an application that comes with Keras: its code stays the same between trials."""
    return application.__module__.startswith("keras.")


def backbone_key(application: Application, options: Mapping[str, Any]) -> str:
    """Name a backbone by what decides on its weights file, e.g. `MobileNetV2(alpha=0.35)`."""
    listed = ", ".join(f"{name}={options[name]!r}" for name in sorted(options))
    return f"{application.__name__}({listed})" if listed else application.__name__


def build(
    application: Application, options: Mapping[str, Any], shape: Sequence[int | None], file: str | None
) -> keras.Model:
    """Build a backbone without its top on these weights, random ones without a file.

    It is the graph that `weights="imagenet"` gives, which may differ from that of another `weights`: EfficientNetB0 to
    B7 then have a second rescaling. Random weights have no training to match, and get the graph of `weights=None`.

    Raises:
        ValueError: The application has not asked for its file.
    """
    if file is None:
        return _called(application, options, shape, None)
    asked: list[Path] = []

    def answer(url: str, path: Path, checksum: str) -> str:
        asked.append(path)
        return file

    with _answering(application, answer):
        model = _called(application, options, shape, "imagenet")
    if not asked:
        raise ValueError(
            f"{application.__name__} asks keras.utils.get_file for no file with an input of shape {tuple(shape)}"
        )
    return model


def look(
    application: Application,
    options: Mapping[str, Any],
    shape: Sequence[int | None],
    values: Mapping[str, Value] | None = None,
    load: bool = True,
) -> WeightsFile:
    """Find the weights file of a backbone, and load it if it is there and `load` is true.

    The application is built with its ImageNet weights, and stopped where it would download them into the Keras cache
    (`KERAS_HOME`).

    Args:
        shape: Shape of one input; Keras' own applications are asked for `INPUT_SHAPE` instead.
        values: Hyperparameters with which its family asks for it.
    """
    asked: dict[str, str] = {}
    problem = ""

    def answer(url: str, path: Path, checksum: str) -> str:
        asked.update(url=url, path=str(path), hash=checksum)
        if not (load and path.is_file()):
            raise _Asked
        return str(path)

    try:
        with _answering(application, answer):
            _called(application, options, INPUT_SHAPE if of_keras(application) else shape, "imagenet")
        problem = "" if asked else "it asks keras.utils.get_file for no file"
    except _Asked:
        pass
    except Exception as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    missing = bool(asked) and not Path(asked["path"]).is_file()
    key = backbone_key(application, options)
    return WeightsFile(key, dict(values or {}), **asked, missing=missing, problem=problem)


def _called(
    application: Application, options: Mapping[str, Any], shape: Sequence[int | None], weights: str | None
) -> keras.Model:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square.*")
        model: keras.Model = application(include_top=False, weights=weights, input_shape=tuple(shape), **options)
    return model


@contextmanager
def _answering(application: Application, answer: Callable[[str, Path, str], str]) -> Iterator[None]:
    """Answer an application's calls of Keras' `get_file`, by whatever name it has been imported.

    Args:
        answer: Takes the URL, the path in the Keras cache and the checksum ("" for none); returns the file's path.
    """
    original = keras.utils.get_file
    signature = inspect.signature(original)

    def get_file(*positional: Any, **named: Any) -> str:
        asked = signature.bind(*positional, **named)
        asked.apply_defaults()
        call = asked.arguments
        if call["extract"] or call["untar"]:
            raise ValueError("its weights are in an archive: must be a file of weights")
        folder = Path(call["cache_dir"] or keras_private.config.keras_home()).expanduser().absolute()
        name = str(call["fname"] or Path(call["origin"]).name)
        return answer(call["origin"], folder / call["cache_subdir"] / name, call["file_hash"] or call["md5_hash"] or "")

    modules = [vars(module) for module in tuple(sys.modules.values()) if isinstance(module, ModuleType)]
    modules.append(getattr(inspect.unwrap(application), "__globals__", {}))  # a search-space file is no such module
    places = [(names, name) for names in modules for name, value in tuple(names.items()) if value is original]
    try:
        for names, name in places:
            names[name] = get_file
        yield
    finally:
        for names, name in places:
            names[name] = original
