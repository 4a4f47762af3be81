"""Check of a family before the search: its declared space, its builds, and its weights files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from bench.errors import SpaceError, unknown
from bench.hyperparameters import Hyperparameter, HyperParameters, Value, fixed
from bench.training import augmentation, loading, trainer, weights
from bench.training.messages import Channel, ProbeJob, ProbeResult, WeightsFile, WeightsJob
from bench.training.task import Task, backbone_key
from bench.training.trainer import WrongModel


def probe(job: ProbeJob, channel: Channel) -> ProbeResult:
    """Build a family with default values; collect what it declares and the weights that it wants.

    Raises:
        SpaceError: The file, its output shape or a known configuration is wrong; names file and line.
    """
    loaded = loading.load(Path(job.path))
    first = _declared(loaded, job, {})
    space = first.space
    for corner in _corners(space, first.values):
        try:
            more = _declared(loaded, job, corner).space
        except SpaceError:
            continue  # a corner that does not build is a failed trial later, not a broken file
        space = space + [hyperparameter for hyperparameter in more if hyperparameter not in space]
    known = [_known(loaded, number, values, space) for number, values in enumerate(loaded.known)]
    wanted = {backbone_key(application, options): (application, options) for application, options in first.backbones}
    files = {key: weights.look(*backbone) for key, backbone in wanted.items()} if job.weights == "imagenet" else {}
    return ProbeResult(
        space=tuple(space),
        known=tuple(known),
        weights_files={key: file for key, file in files.items() if file is not None},
        backbones=len(wanted),
        gpus=tuple(device.name for device in tf.config.list_physical_devices("GPU")),
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


@dataclass(frozen=True)
class _Declaration:
    space: list[Hyperparameter]
    values: dict[str, Value]
    backbones: list[tuple[Callable[..., Any], Mapping[str, Any]]]


def _declared(loaded: loading.LoadedFamily, job: ProbeJob, values: Mapping[str, Value]) -> _Declaration:
    """Build once with these values, and defaults for the others.

    Raises:
        SpaceError: The build fails, or its model cannot be trained; names file and line.
    """
    task = Task(job.class_names, job.input_sizes)
    hp = HyperParameters(fixed(values))
    try:
        model = loaded.model(hp, task)
    except Exception as error:
        raise loading.space_error(loaded.path, error) from error
    try:
        if isinstance(model, keras.Model):
            trainer.check_model(model, task.num_classes)
            augmentation.check_declared(hp.space)
            nested = any(isinstance(layer, keras.Model) for layer in model.layers)
            if "head_epochs" in [declared.name for declared in hp.space] and not nested:
                raise WrongModel("head_epochs is declared, but there is no backbone to freeze: see task.backbone")
        elif not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
            raise WrongModel(
                f"build returned {type(model).__name__}: must be a Keras model or a scikit-learn classifier"
                " with predict_proba"
            )
    except ValueError as error:
        raise SpaceError(loaded.path, loaded.line, str(error)) from error
    return _Declaration(hp.space, hp.values, [(backbone.application, backbone.options) for backbone in task.backbones])


def _known(
    loaded: loading.LoadedFamily, number: int, values: Mapping[str, Value], space: list[Hyperparameter]
) -> dict[str, Value]:
    """Check a known configuration against the declared space.

    `input_size` becomes the nearest size that suits the data, so that one file serves small and large pictures.
    """
    checked: dict[str, Value] = {}
    for name, value in values.items():
        named = [declared for declared in space if declared.name == name]
        if not named:
            message = str(unknown("hyperparameter", name, [declared.name for declared in space]))
            raise SpaceError(
                loaded.path, _line_of(loaded.path, "KNOWN_CONFIGURATIONS"), f"configuration {number}: {message}"
            )
        if name == "input_size" and named[0].kind == "Choice" and isinstance(value, int):
            wanted = value
            value = min((int(size or 0) for size in named[0].values), key=lambda size: abs(size - wanted))
        if named[0].kind == "Float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not any(declared.accepts(value) for declared in named):
            raise SpaceError(
                loaded.path,
                _line_of(loaded.path, "KNOWN_CONFIGURATIONS"),
                f"configuration {number}: {name}={value!r} is outside {named[0].describe()}",
            )
        checked[name] = value
    return checked


def _line_of(path: Path, name: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(name)), 1)


def check_weights(job: WeightsJob, channel: Channel) -> WeightsFile:
    """Look again at a weights file that has been downloaded; see `weights.look`."""
    file = weights.look(getattr(keras.applications, job.file.application), job.file.options)
    assert file is not None
    return file
