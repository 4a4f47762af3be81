"""Check of a family before the search: its declared space, its builds, and its weights files."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from bench.data.sources.folder import SUFFIXES
from bench.errors import SpaceError, unknown
from bench.hyperparameters import Hyperparameter, HyperParameters, Value, fixed
from bench.training import augmentation, loading, pretrained
from bench.training.backbones import Scan, preprocessing_warning
from bench.training.dry_run import dry_run
from bench.training.estimators import can_learn
from bench.training.messages import Channel, FamilyJob, ProbeJob, ProbeResult, WeightsFile, WeightsJob
from bench.training.objective import Objective, WrongModel, check_model
from bench.training.task import Task

KERAS_2 = ("tf_keras", "tensorflow_hub")
"""Libraries whose models and layers are those of Keras 2."""

KERAS_3_NEEDED = "the suite trains models of Keras 3, whose layers come from `keras`"


def probe(job: ProbeJob, channel: Channel) -> ProbeResult:
    """Build a family with default values; collect what it declares and the weights that it can want.

    Raises:
        SpaceError: The file, its output shape or a known configuration is wrong; names file and line.
    """
    loaded = loading.load(Path(job.path))
    keras.utils.set_random_seed(job.seed)
    if job.deterministic:
        tf.config.experimental.enable_op_determinism()  # as in a trial
    with _pictures_read(loaded.path.parent) as read:
        scan = Scan(loaded, job, job.only)
        too_small = scan.too_small()
        texts = list(_left_out(too_small))
        if too_small:
            job = replace(job, input_sizes=tuple(size for size in job.input_sizes if size not in too_small))
            if not job.input_sizes:
                return ProbeResult(space=(), too_small=tuple(too_small), warnings=tuple(texts))
            scan = Scan(loaded, job, job.only)
        hp, task, model = _declared(loaded, job, {})
    if read:
        texts.append(f"build reads pictures by itself, {read[0]} for one: it may see those of the test")
    if isinstance(model, keras.Model):
        try:
            texts += dry_run(model, hp.values, task.num_classes, job.seed, task.backbones)
        except ValueError as error:
            raise SpaceError(loaded.path, loaded.line, str(error)) from error
    space, learns = hp.space, can_learn(model)
    for corner in _corners(space, hp.values):
        try:
            more, _, other = _declared(loaded, job, corner)
        except SpaceError:
            continue  # a corner that does not build is a failed trial later, not a broken file
        learns = learns or can_learn(other)
        space = space + [hyperparameter for hyperparameter in more.space if hyperparameter not in space]
    known = [_known(loaded, number, values, space) for number, values in enumerate(loaded.known)]
    if len(task.backbones) > 1:
        scan = Scan(loaded, job, job.only, task.backbones)
    wanted = scan.requests.values() if job.weights == "imagenet" else ()
    if wanted and not scan.complete:
        texts.append("not every configuration could be tried for its backbones: a trial may meet one without weights")
    return ProbeResult(
        space=tuple(space),
        known=tuple(known),
        weights_files=tuple(
            pretrained.find_weights(request.application, request.options, request.x.shape[1:], request.values)
            for request in wanted
        ),
        backbones=len(scan.requests),
        too_small=tuple(too_small),
        learns=learns,
        gpus=tuple(device.name for device in tf.config.list_physical_devices("GPU")),
        warnings=(*texts, *filter(None, map(preprocessing_warning, wanted))),
    )


def _left_out(too_small: Mapping[int, str]) -> Iterator[str]:
    for reason in dict.fromkeys(too_small.values()):
        sizes = [str(size) for size in too_small if too_small[size] == reason]
        yield f"input {'size' if len(sizes) == 1 else 'sizes'} {', '.join(sizes)} left out, {reason}"


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
    loaded: loading.LoadedFamily, job: FamilyJob, values: Mapping[str, Value]
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


def check_weights(job: WeightsJob, channel: Channel) -> WeightsFile:
    """Look again at a weights file that has been downloaded; see `pretrained.find_weights`."""
    loaded = loading.load(Path(job.path))
    key, values = job.file.backbone, job.file.values
    request = Scan(loaded, job, values).requests.get(key)
    if request is None:  # not the first one of its family
        _, task, _ = _declared(loaded, job, values)
        request = Scan(loaded, job, values, task.backbones).requests[key]
    return pretrained.find_weights(request.application, request.options, request.x.shape[1:], request.values)
