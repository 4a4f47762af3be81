"""ImageNet weights of a backbone: find their file in the Keras cache, and load it in the application's way."""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from bench.errors import one_line, unknown
from bench.hyperparameters import Value
from bench.training import hub, keras_private
from bench.training.messages import WeightsFile

INPUT_SHAPE = (224, 224, 3)
"""Keras has one weights file without top for all input sizes, that of 224 pixels."""

Application = Callable[..., Any]
"""A function of `keras.applications`, or one with the same arguments `include_top`, `weights` and `input_shape`."""


_GET_FILE = inspect.signature(keras.utils.get_file)


class _FileRequested(BaseException):
    """Raised to leave an application when it requests its file; not an `Exception`, which its code might catch."""


def is_from_keras(application: Application) -> bool:
    """Return whether an application is part of Keras, so that its code does not change between trials."""
    return application.__module__.startswith("keras.")


def backbone_key(application: Application, options: Mapping[str, Any]) -> str:
    """Return the name of a backbone with the options that determine its weights, e.g. `MobileNetV2(alpha=0.35)`."""
    listed = ", ".join(f"{name}={options[name]!r}" for name in sorted(options))
    return f"{application.__name__}({listed})" if listed else application.__name__


def applications() -> dict[str, Application]:
    """Return the functions of `keras.applications` by name."""
    return {name: value for name, value in vars(keras.applications).items() if inspect.isfunction(value)}


def application(name: str) -> Application:
    """Return a function of `keras.applications`, or a preset of KerasHub, e.g. `hub:resnet_18_imagenet`.

    Raises:
        ConfigError: There is none of this name; has the nearest names.
    """
    if name.startswith(hub.PREFIX):
        return hub.Preset(name.removeprefix(hub.PREFIX))
    if name not in (functions := applications()):
        raise unknown("backbone", name, functions)
    return functions[name]


def preprocessing(application: Application) -> Callable[[Any], Any] | None:
    """Return the `preprocess_input` of an application or in its module: raw pixels to those that it was trained on."""
    preprocess: Callable[[Any], Any] | None = getattr(application, "preprocess_input", None)
    return preprocess or getattr(inspect.unwrap(application), "__globals__", {}).get("preprocess_input")


def named_application(name: str) -> Application | None:
    """Return the function of `keras.applications` whose models have such a name, e.g. `mobilenetv2_1.00_224`."""
    functions = applications().values()
    fitting = [function for function in functions if _letters(name).startswith(_letters(function.__name__))]
    return max(fitting, key=lambda function: len(function.__name__), default=None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def build(
    application: Application, options: Mapping[str, Any], shape: Sequence[int | None], file: str | None
) -> keras.Model:
    """Build a backbone without its top, with the weights in a file, or with random ones if `file` is None.

    With a file, the graph is that of `weights="imagenet"`, which may differ from that of other `weights`: only it has
    a second rescaling in EfficientNetB0 to B7. Without a file, the graph is that of `weights=None`.

    Raises:
        ValueError: The application did not request its file.
    """
    if file is None:
        return _call(application, options, shape, None)
    requested: list[Path] = []

    def answer(url: str, path: Path, checksum: str) -> str:
        requested.append(path)
        return file

    with _get_file_replaced(application, answer):
        model = _call(application, options, shape, "imagenet")
    if not requested:
        raise ValueError(
            f"{application.__name__} does not call keras.utils.get_file for an input of shape {tuple(shape)}"
        )
    return model


def find_weights(
    application: Application,
    options: Mapping[str, Any],
    shape: Sequence[int | None],
    values: Mapping[str, Value] | None = None,
    load: bool = True,
) -> WeightsFile:
    """Find the weights file of a backbone, and check that it loads if it exists and `load` is true.

    The application is called with ImageNet weights, and aborted before it would download them into the Keras cache
    (`KERAS_HOME`).

    Args:
        shape: Shape of one input; Keras' own applications are called with `INPUT_SHAPE` instead.
        values: Hyperparameters with which the family requests the backbone.
    """
    request: dict[str, str] = {}
    problem = ""

    def answer(url: str, path: Path, checksum: str) -> str:
        request.update(url=url, path=str(path), hash=checksum)
        if not (load and path.is_file()):
            raise _FileRequested
        return str(path)

    try:
        with _get_file_replaced(application, answer):
            _call(application, options, INPUT_SHAPE if is_from_keras(application) else shape, "imagenet")
        problem = "" if request else "it does not call keras.utils.get_file"
    except _FileRequested:
        pass
    except Exception as error:
        problem = one_line(error, 200)
    missing = bool(request) and not Path(request["path"]).is_file()
    key = backbone_key(application, options)
    return WeightsFile(key, dict(values or {}), **request, missing=missing, problem=problem)


def _call(
    application: Application, options: Mapping[str, Any], shape: Sequence[int | None], weights: str | None
) -> keras.Model:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square.*")
        model: keras.Model = application(include_top=False, weights=weights, input_shape=tuple(shape), **options)
    return model


@contextmanager
def _get_file_replaced(application: Application, answer: Callable[[str, Path, str], str]) -> Iterator[None]:
    """Replace Keras' `get_file` in all modules, under any name by which they imported it.

    Args:
        answer: Takes the URL, the path in the Keras cache and the checksum ("" for none); returns the file's path.
    """

    def get_file(*positional: Any, **named: Any) -> str:
        arguments, path = _requested(*positional, **named)
        if arguments["extract"] or arguments["untar"]:
            raise ValueError("its weights are in an archive: must be a weights file")
        return answer(arguments["origin"], path, arguments["file_hash"] or arguments["md5_hash"] or "")

    with _replaced(get_file, getattr(inspect.unwrap(application), "__globals__", {})):
        yield


@contextmanager
def existing_files_kept(names: dict[str, Any]) -> Iterator[None]:
    """Make Keras take a weights file that exists, whatever its checksum, for a family that builds its own backbone.

    Keras would download it again, and delete it if that fails.

    Args:
        names: Global names of the family's file, which is not in `sys.modules`.
    """
    original = keras.utils.get_file

    def get_file(*positional: Any, **named: Any) -> str:
        arguments, path = _requested(*positional, **named)
        is_there = path.is_file() and not (arguments["extract"] or arguments["untar"] or arguments["force_download"])
        return str(path) if is_there else str(original(*positional, **named))

    with _replaced(get_file, names):
        yield


def _requested(*positional: Any, **named: Any) -> tuple[dict[str, Any], Path]:
    """Return the arguments of a call of Keras' `get_file`, with defaults, and the path of the file."""
    bound = _GET_FILE.bind(*positional, **named)
    bound.apply_defaults()
    arguments = bound.arguments
    folder = Path(arguments["cache_dir"] or keras_private.config.keras_home()).expanduser().absolute()
    return arguments, folder / arguments["cache_subdir"] / str(arguments["fname"] or Path(arguments["origin"]).name)


@contextmanager
def _replaced(get_file: Callable[..., str], names: dict[str, Any]) -> Iterator[None]:
    """Replace Keras' `get_file` by another function in all modules and in `names`."""
    original = keras.utils.get_file
    modules = [vars(module) for module in tuple(sys.modules.values()) if isinstance(module, ModuleType)]
    modules.append(names)  # search-space files: not in sys.modules
    replaced = [(names, name) for names in modules for name, value in tuple(names.items()) if value is original]
    try:
        for names, name in replaced:
            names[name] = get_file
        yield
    finally:
        for names, name in replaced:
            names[name] = original
