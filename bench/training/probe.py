"""Check of a family before the search: its declared space, its builds, and its weights files."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend import config
from keras.src.utils import file_utils

from bench.data.sources.folder import SUFFIXES
from bench.errors import SpaceError, unknown
from bench.hyperparameters import Hyperparameter, HyperParameters, Value, fixed
from bench.training import augmentation, loading
from bench.training.dry_run import dry_run
from bench.training.messages import Channel, ProbeJob, ProbeResult, WeightsFile, WeightsJob
from bench.training.objective import Objective, WrongModel, check_model
from bench.training.task import Task, backbone_key

KERAS_2 = ("tf_keras", "tensorflow_hub")
"""Libraries whose models and layers are those of Keras 2."""

KERAS_3_NEEDED = "the suite trains models of Keras 3, whose layers come from `keras`"

INPUT_SHAPE = (224, 224, 3)
"""The 224-pixel file of a backbone without its top serves every input size."""


def probe(job: ProbeJob, channel: Channel) -> ProbeResult:
    """Build a family with default values; collect what it declares and the weights that it wants.

    Raises:
        SpaceError: The file, its output shape or a known configuration is wrong; names file and line.
    """
    loaded = loading.load(Path(job.path))
    keras.utils.set_random_seed(job.seed)
    if job.deterministic:
        tf.config.experimental.enable_op_determinism()  # as in a trial
    with _pictures_read(loaded.path.parent) as read:
        hp, task, model = _declared(loaded, job, {})
    texts = [f"build reads pictures by itself, {read[0]} for one: it may see those of the test"] if read else []
    if isinstance(model, keras.Model):
        try:
            texts += dry_run(model, hp.values, task.num_classes, job.seed, task.backbones)
        except ValueError as error:
            raise SpaceError(loaded.path, loaded.line, str(error)) from error
    space = hp.space
    for corner in _corners(space, hp.values):
        try:
            more, *_ = _declared(loaded, job, corner)
        except SpaceError:
            continue  # a corner that does not build is a failed trial later, not a broken file
        space = space + [hyperparameter for hyperparameter in more.space if hyperparameter not in space]
    known = [_known(loaded, number, values, space) for number, values in enumerate(loaded.known)]
    backbones = {backbone_key(backbone.application, backbone.options): backbone for backbone in task.backbones}
    wanted = backbones if job.weights == "imagenet" else {}
    files = {key: look(backbone.application, backbone.options) for key, backbone in wanted.items()}
    return ProbeResult(
        space=tuple(space),
        known=tuple(known),
        weights_files={key: file for key, file in files.items() if file is not None},
        backbones=len(backbones),
        gpus=tuple(device.name for device in tf.config.list_physical_devices("GPU")),
        warnings=tuple(texts),
    )


def _corners(space: Sequence[Hyperparameter], values: Mapping[str, Value]) -> list[dict[str, Value]]:
    """Find values that activate the inactive hyperparameters, in few builds: a large backbone takes a second."""
    corners: list[dict[str, Value]] = []
    for hidden in space:
        if hidden.is_active(values):
            continue
        parents = {parent: allowed[0] for parent, allowed in hidden.conditions}
        for corner in corners:
            if all(corner.get(name, value) == value for name, value in parents.items()):
                corner.update(parents)
                break
        else:
            corners.append(parents)
    return corners


def _declared(
    loaded: loading.LoadedFamily, job: ProbeJob, values: Mapping[str, Value]
) -> tuple[HyperParameters, Task, Any]:
    """Build once with these values, and defaults for the others; SpaceError where its model cannot be trained."""
    task = Task(job.class_names, job.input_sizes)
    hp = HyperParameters(fixed(values))
    try:
        model = loaded.model(hp, task)
    except Exception as error:
        raise _build_error(loaded, error) from error
    try:
        if isinstance(model, keras.Model):
            check_model(model, task.num_classes)
            Objective.of(model)
            augmentation.check_declared(hp.space)
            nested = any(isinstance(layer, keras.Model) for layer in model.layers)
            if "head_epochs" in [declared.name for declared in hp.space] and not nested:
                raise WrongModel("head_epochs is declared, but there is no backbone to freeze: see task.backbone")
        elif any(cls.__module__.split(".")[0] in KERAS_2 for cls in type(model).__mro__):
            raise WrongModel(f"build returned a model of Keras 2: {KERAS_3_NEEDED}")
        elif not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
            raise WrongModel(
                f"build returned {type(model).__name__}: must be a Keras model or a scikit-learn classifier"
                " with predict_proba"
            )
    except ValueError as error:
        raise SpaceError(loaded.path, loaded.line, str(error)) from error
    return hp, task, model


def _build_error(loaded: loading.LoadedFamily, error: Exception) -> SpaceError:
    """Describe an exception of `build` in one line; one inside a library of Keras 2 for what it is."""
    described = loading.space_error(loaded.path, error, loaded.line)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        library = str(frame.f_globals.get("__name__")).split(".")[0]
        if library in KERAS_2:
            return SpaceError(
                described.path, described.line, f"a layer of {library} is one of Keras 2: {KERAS_3_NEEDED}"
            )
    return described


@contextmanager
def _pictures_read(families: Path) -> Iterator[list[str]]:
    """Collect the picture files that are opened meanwhile, and the folders with pictures that are listed.

    Not those of installed packages, nor the families' own folder, which the suite lists.
    """
    read: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal watching
        if not watching or event not in ("open", "os.listdir", "os.scandir") or not isinstance(arguments[0], str):
            return
        watching, path = False, Path(arguments[0])  # what follows is not to be seen
        if path != families and not path.is_relative_to(sys.prefix) and _has_pictures(path):
            read.append(str(path))
        watching = True

    sys.addaudithook(hook)  # it cannot be removed
    try:
        yield read
    finally:
        watching = False


def _has_pictures(path: Path) -> bool:
    try:
        return any(file.suffix.lower() in SUFFIXES for file in (path.iterdir() if path.is_dir() else [path]))
    except OSError:
        return False


def _known(
    loaded: loading.LoadedFamily, number: int, values: Mapping[str, Value], space: list[Hyperparameter]
) -> dict[str, Value]:
    """Check a known configuration against the declared space.

    `input_size` becomes the nearest size that suits the data, so that one file serves small and large pictures.
    """
    checked: dict[str, Value] = {}
    line = loading.line_of(loaded.path, loading.KNOWN)
    for name, value in values.items():
        named = [declared for declared in space if declared.name == name]
        if not named:
            message = str(unknown("hyperparameter", name, [declared.name for declared in space]))
            raise SpaceError(loaded.path, line, f"configuration {number}: {message}")
        if name == "input_size" and named[0].kind == "Choice" and isinstance(value, int):
            wanted = value
            value = min((int(size or 0) for size in named[0].values), key=lambda size: abs(size - wanted))
        if named[0].kind == "Float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not any(declared.accepts(value) for declared in named):
            message = f"configuration {number}: {name}={value!r} is outside {named[0].describe()}"
            raise SpaceError(loaded.path, line, message)
        checked[name] = value
    return checked


# -- ImageNet weights


class _Missing(Exception):
    """Leaves an application before it downloads anything."""


def look(application: Callable[..., Any], options: Mapping[str, Value]) -> WeightsFile | None:
    """Find an application's weights file, and load it if it is there; None where the application asks for no file.

    The application is built with its ImageNet weights, and stopped where it would download them into the Keras cache
    (`KERAS_HOME`).
    """
    asked: dict[str, str] = {}

    def get_file(fname: str = "", origin: str = "", cache_subdir: str = "", **checksums: Any) -> str:
        path = Path(config.keras_home()).expanduser().absolute() / (cache_subdir or "models") / fname
        checksum = checksums.get("file_hash") or checksums.get("md5_hash") or ""
        asked.update(url=origin, path=str(path), hash=checksum)
        if not path.is_file():
            raise _Missing
        return str(path)

    missing, problem = False, ""
    original, file_utils.get_file = file_utils.get_file, get_file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            application(include_top=False, weights="imagenet", input_shape=INPUT_SHAPE, **options)
    except _Missing:
        missing = True
    except Exception as error:
        if not asked:
            raise
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        file_utils.get_file = original
    if not asked:
        return None
    return WeightsFile(application.__name__, dict(options), **asked, missing=missing, problem=problem)


def check_weights(job: WeightsJob, channel: Channel) -> WeightsFile:
    """Look again at a weights file that has been downloaded; see `look`."""
    file = look(getattr(keras.applications, job.file.application), job.file.options)
    assert file is not None
    return file
