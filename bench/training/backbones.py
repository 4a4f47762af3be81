"""Finds the backbones that a family can request, their minimum input sizes and preprocessing, without building them.

The family's `build` is called with a task that aborts it when it requests its backbone, which takes milliseconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bench.hyperparameters import Hyperparameter, HyperParameters, Value
from bench.records import Work
from bench.training import pretrained
from bench.training.loading import LoadedFamily
from bench.training.messages import FamilyJob, KnownBackbones
from bench.training.pretrained import Application, backbone_key
from bench.training.task import Backbone, Task

MAX_BUILDS = 300
"""Maximum number of builds per scan; a trial itself finds the weights of a backbone that the scan missed."""

MAX_SCAN_S = 60.0
"""Maximum duration of a scan: a `build` may take long before it requests its backbone."""

MAX_VALUES = 32
"""Maximum number of values of a hyperparameter for trying all of them."""

LARGE = 1024
"""Input size in pixels that every backbone can be built for."""

MAX_DEVIATION_FACTOR = 1.75
"""Maximum ratio of two standard deviations that count as equal."""


@dataclass(frozen=True)
class Request:
    """A call of `task.backbone`: its arguments, and the values of the hyperparameters declared before it."""

    application: Application
    options: Mapping[str, Any]
    x: Any
    values: Mapping[str, Value]

    @property
    def key(self) -> str:
        return backbone_key(self.application, self.options)

    @property
    def size(self) -> int | None:
        """Shorter side of its input in pixels; None if not fixed."""
        return min((side for side in self.x.shape[1:3] if side is not None), default=None)


class _BuildAborted(BaseException):
    """Raised to leave a `build` at its last backbone request, or an application at its first layer."""


class _RecordingTask(Task):
    """Task that records the requested backbones.

    Args:
        built: Backbones of an earlier build: all but the last are returned again for the same request.
    """

    def __init__(self, job: FamilyJob, sizes: Sequence[int], hp: HyperParameters, built: Sequence[Backbone]) -> None:
        super().__init__(job.class_names, sizes, unbalanced=job.unbalanced)
        self.requests: list[Request] = []
        self._hp, self._reusable = hp, built[:-1]

    def _backbone(self, application: Application, x: Any, options: Mapping[str, Any]) -> tuple[Any, keras.Model]:
        number, request = len(self.requests), Request(application, options, x, dict(self._hp.values))
        self.requests.append(request)
        if number < len(self._reusable):
            backbone = self._reusable[number]
            same = request.key == backbone_key(backbone.application, backbone.options)
            if same and backbone.model.input_shape == x.shape:
                return backbone.model(x), backbone.model
        raise _BuildAborted


class Scan:
    """All backbones that a family requests, as far as single hyperparameters decide on them.

    The scan tries the defaults, then every value of each hyperparameter that is declared before the backbone; values
    that change the backbone are also tried in combination.

    Args:
        only: Scan only this configuration; None for all.
        built: Backbones of a build with default values, for finding those after the first.

    Attributes:
        requests: The first request of each backbone, by its key.
        complete: False if the scan ended at one of its limits.
    """

    def __init__(
        self,
        family: LoadedFamily,
        job: FamilyJob,
        only: Mapping[str, Value] | None = None,
        built: Sequence[Backbone] = (),
    ) -> None:
        self._family, self._job, self._built = family, job, built
        self.requests: dict[str, Request] = {}
        self.complete = True
        self._decisive: set[str] = set()
        self._end_s = time.monotonic() + MAX_SCAN_S
        keys, hp = self._attempt(only or {})
        files = [family.path, *(Path(str(module.__file__)) for module in family.neighbours.values())]
        # If the family never requests a backbone, every attempt would be a complete build.
        if only is None and (keys or any(b".backbone" in file.read_bytes() for file in files)):
            for values in family.known:
                self._attempt(values)
            self._search(keys, hp)

    def _search(self, keys: list[str], hp: HyperParameters) -> None:
        """Try values other than the defaults; the defaults requested the backbones with these keys."""
        max_builds = MAX_BUILDS // 10 if self._built else MAX_BUILDS
        initial = set(hp.values)
        waiting: deque[tuple[dict[str, Value], list[str], HyperParameters]] = deque([({}, keys, hp)])
        tried: set[frozenset[tuple[str, Value]]] = set()
        while waiting:
            chosen, keys, hp = waiting.popleft()
            for hyperparameter in hp.space:
                name = hyperparameter.name
                if name in chosen or (chosen and name in initial - self._decisive):
                    continue
                for value in _others(hyperparameter, hp.values):
                    values = {**chosen, name: value}
                    if (configuration := frozenset(values.items())) in tried:
                        continue
                    if len(tried) >= max_builds or time.monotonic() > self._end_s:
                        self.complete = False
                        return
                    tried.add(configuration)
                    new_keys, new_hp = self._attempt(values)
                    if new_keys != keys or list(new_hp.values) != list(hp.values):
                        self._decisive.add(name)
                        waiting.append((values, new_keys, new_hp))

    def _attempt(self, values: Mapping[str, Value]) -> tuple[list[str], HyperParameters]:
        requests, hp = self._requests(values, self._job.input_sizes)
        for request in requests:
            self.requests.setdefault(request.key, request)
        return [request.key for request in requests], hp

    def _requests(self, values: Mapping[str, Value], sizes: Sequence[int]) -> tuple[list[Request], HyperParameters]:
        def suggest(hyperparameter: Hyperparameter) -> Value:
            value = values.get(hyperparameter.name, hyperparameter.default)
            return value if hyperparameter.accepts(value) else hyperparameter.default

        hp = HyperParameters(suggest)
        task = _RecordingTask(self._job, sizes, hp, self._built)
        try:
            self._family.model(hp, task)
        except _BuildAborted:
            pass
        except Exception:  # a later build reports the error
            return [], hp
        return task.requests, hp

    def backbones_of(
        self, configurations: Iterable[tuple[Mapping[str, Value], Work | None]]
    ) -> tuple[KnownBackbones, ...]:
        """Return the distinct backbones and input sizes of configurations, which come with their computations."""
        distinct: dict[tuple[tuple[str, ...], int], KnownBackbones] = {}
        for values, work in configurations if self.requests else ():
            requests, _ = self._requests(values, self._job.input_sizes)
            if requests and (size := requests[0].size):
                names = tuple(request.key for request in requests)
                distinct.setdefault((names, size), KnownBackbones(names, size, values, work))
        return tuple(distinct.values())

    def too_small(self) -> dict[int, str]:
        """Return the input sizes that a backbone cannot be built for, with the reasons."""
        reasons: dict[int, str] = {}
        for key, request in self.requests.items():
            if time.monotonic() > self._end_s or (min_size := _min_size(request)) == 1:
                continue
            size_if_large = self._backbone_size(request, LARGE)
            for input_size in self._job.input_sizes:
                size = self._backbone_size(request, input_size)
                if size is not None and size < min_size and size != size_if_large:
                    reasons.setdefault(input_size, f"{key} needs {min_size} pixels")
        return reasons

    def _backbone_size(self, request: Request, input_size: int) -> int | None:
        """Return the size of a backbone's input if this is the only picture size."""
        requests, _ = self._requests(request.values, [input_size])
        return next((repeated.size for repeated in requests if repeated.key == request.key), None)


def _others(hyperparameter: Hyperparameter, values: Mapping[str, Value]) -> Sequence[Value]:
    """Return the other values of an active hyperparameter; none if there are too many."""
    all_values = hyperparameter.finite_values() if hyperparameter.is_active(values) else None
    if all_values is None or len(all_values) > MAX_VALUES:
        return ()
    return [value for value in all_values if value != values.get(hyperparameter.name)]


def _min_size(request: Request) -> int:
    """Return the smallest input size in pixels that an application accepts; 1 if it rejects all up to `LARGE`."""
    low, high = 0, LARGE
    if _accepts(request, 1) or not _accepts(request, high):
        return 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _accepts(request, middle) else (middle, high)
    return high


def _accepts(request: Request, size: int) -> bool:
    """Return whether an application accepts an input size.

    The call ends at the first layer: Keras' applications check the size before that.
    """
    try:
        with _aborting_at_first_layer():
            pretrained.build(request.application, request.options, (size, size, 3), None)
    except _BuildAborted:
        return True
    except Exception:
        return False
    return True


@contextmanager
def _aborting_at_first_layer() -> Iterator[None]:
    def call(self: Any, *positional: Any, **named: Any) -> Any:
        raise _BuildAborted

    original = keras.layers.Layer.__call__
    keras.layers.Layer.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = original  # type: ignore[method-assign]


def preprocessing_warning(request: Request) -> str:
    """Compare the pixel range at the input of a Keras backbone with the one that it was trained on.

    The latter is the result of the `preprocess_input` in its module, which does not change the pixels for a backbone
    that rescales them itself.

    Returns:
        A warning; "" if the ranges are similar: standard deviations within `MAX_DEVIATION_FACTOR`, means within one
        standard deviation.
    """
    application = request.application
    preprocess = pretrained.preprocessing(application)
    includes_preprocessing = request.options.get("include_preprocessing") is not False
    if not (pretrained.is_from_keras(application) and preprocess and includes_preprocessing):
        return ""
    try:
        inputs = keras.utils.get_source_inputs(request.x)
        shape = [side or 32 for side in inputs[0].shape[1:]]
        pixels = np.random.default_rng(0).uniform(0, 255, (4, *shape)).astype(np.float32)
        pixels[:2] = np.array([0, 255])[:, None, None, None]  # black and white
        received = np.asarray(keras.Model(inputs, request.x)([pixels], training=False))
    except Exception:  # several inputs, or not three channels: cannot be checked
        return ""
    expected = np.asarray(preprocess(np.resize(pixels, received.shape)))
    ratio = received.std() / expected.std()
    similar_deviation = 1 / MAX_DEVIATION_FACTOR < ratio < MAX_DEVIATION_FACTOR
    if similar_deviation and abs(received.mean() - expected.mean()) < expected.std():
        return ""
    name = application.__name__
    received_range, expected_range = (f"{values.min():.4g} to {values.max():.4g}" for values in (received, expected))
    if expected_range == "0 to 255":
        return f"{name} rescales pixels itself: it needs pixels from {expected_range}, but gets {received_range}"
    module = application.__module__.replace("keras.src.", "keras.")
    return (
        f"{name} was trained on pixels from {expected_range}, but gets {received_range}: use {module}.preprocess_input"
    )
