"""Backbones that a family can ask for, found without building them: their choices, input sizes and preprocessing.

The family's `build` is called with a task that stops it where it asks for its backbone, which takes milliseconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bench.hyperparameters import Hyperparameter, HyperParameters, Value
from bench.training import pretrained
from bench.training.loading import LoadedFamily
from bench.training.messages import FamilyJob
from bench.training.pretrained import Application, backbone_key
from bench.training.task import Backbone, Task

MAX_BUILDS = 300
"""Builds in the search for a family's backbones; a trial looks for the weights of one that they missed."""

MAX_SCAN_S = 60.0
"""Time after which the search ends too: a `build` may take long before it asks for its backbone."""

MAX_VALUES = 32
"""Values of a hyperparameter up to which each is tried."""

LARGE = 1024
"""Input size in pixels that every backbone can be built for."""

CLOSE = 1.75
"""Factor between two standard deviations, and standard deviations between two means, that are taken for alike."""


@dataclass(frozen=True)
class Request:
    """A call of `task.backbone`: its arguments, and the values of the hyperparameters that were asked for before."""

    application: Application
    options: Mapping[str, Any]
    x: Any
    values: Mapping[str, Value]

    @property
    def key(self) -> str:
        return backbone_key(self.application, self.options)

    @property
    def size(self) -> int | None:
        """The shorter side of its input in pixels; None where it is left open."""
        return min((side for side in self.x.shape[1:3] if side is not None), default=None)


class _Reached(BaseException):
    """Leaves a `build` at the last backbone that it asks for, or an application at its first layer."""


class _Scout(Task):
    """Task that records what backbones are asked for.

    Args:
        built: Backbones that a build has had: all but the last are given again where they are asked for again.
    """

    def __init__(self, job: FamilyJob, sizes: Sequence[int], hp: HyperParameters, built: Sequence[Backbone]) -> None:
        super().__init__(job.class_names, sizes)
        self.requests: list[Request] = []
        self._hp, self._built_before = hp, built[:-1]

    def backbone(self, application: Application, x: Any, **options: Any) -> tuple[Any, keras.Model]:
        number, request = len(self.requests), Request(application, options, x, dict(self._hp.values))
        self.requests.append(request)
        if number < len(self._built_before):
            before = self._built_before[number]
            same = request.key == backbone_key(before.application, before.options)
            if same and before.model.input_shape == x.shape:
                return before.model(x), before.model
        raise _Reached


class Scan:
    """All backbones that a family asks for, as far as its hyperparameters decide on them one by one.

    The defaults are tried, then every value of each hyperparameter that is asked for before the backbone; where that
    changes the backbone, it is tried together with others that do.

    Args:
        only: The one configuration that is looked at; None looks at all.
        built: Backbones of a build with default values, so that the ones after the first are found too.

    Attributes:
        requests: The first request of each backbone, by its key.
        complete: False where the search ended at one of its limits.
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
        # Where none is ever asked for, every attempt would be a whole build.
        if only is None and (keys or any(b"backbone" in file.read_bytes() for file in files)):
            for values in family.known:
                self._attempt(values)
            self._search(keys, hp)

    def _search(self, keys: list[str], hp: HyperParameters) -> None:
        """Try other values than the defaults, with which these backbones were asked for."""
        most = MAX_BUILDS // 10 if self._built else MAX_BUILDS
        from_the_start = set(hp.values)
        waiting: deque[tuple[dict[str, Value], list[str], HyperParameters]] = deque([({}, keys, hp)])
        tried: set[frozenset[tuple[str, Value]]] = set()
        while waiting:
            chosen, keys, hp = waiting.popleft()
            for hyperparameter in hp.space:
                name = hyperparameter.name
                if name in chosen or (chosen and name in from_the_start - self._decisive):
                    continue
                for value in _others(hyperparameter, hp.values):
                    values = {**chosen, name: value}
                    if (configuration := frozenset(values.items())) in tried:
                        continue
                    if len(tried) >= most or time.monotonic() > self._end_s:
                        self.complete = False
                        return
                    tried.add(configuration)
                    now, hp_now = self._attempt(values)
                    if now != keys or list(hp_now.values) != list(hp.values):
                        self._decisive.add(name)
                        waiting.append((values, now, hp_now))

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
        scout = _Scout(self._job, sizes, hp, self._built)
        try:
            self._family.model(hp, scout)
        except _Reached:
            pass
        except Exception:  # the builds that follow say what is wrong with the file
            return [], hp
        return scout.requests, hp

    def too_small(self) -> dict[int, str]:
        """Find the input sizes that a backbone cannot be built for; gives the reason by size."""
        reasons: dict[int, str] = {}
        for key, request in self.requests.items():
            if time.monotonic() > self._end_s or (least := _least_size(request)) == 1:
                continue
            large = self._size_of(request, LARGE)
            for size in self._job.input_sizes:
                asked = self._size_of(request, size)
                if asked is not None and asked < least and asked != large:
                    reasons.setdefault(size, f"{key} needs {least} pixels")
        return reasons

    def _size_of(self, request: Request, size: int) -> int | None:
        """The size of a backbone's input where this is the only picture size."""
        requests, _ = self._requests(request.values, [size])
        return next((each.size for each in requests if each.key == request.key), None)


def _others(hyperparameter: Hyperparameter, values: Mapping[str, Value]) -> Sequence[Value]:
    """The other values of an active hyperparameter; none where there are too many."""
    every = hyperparameter.finite_values() if hyperparameter.is_active(values) else None
    if every is None or len(every) > MAX_VALUES:
        return ()
    return [value for value in every if value != values.get(hyperparameter.name)]


def _least_size(request: Request) -> int:
    """The least input size in pixels that an application accepts; 1 where no size up to `LARGE` is right."""
    low, high = 0, LARGE
    if _accepts(request, 1) or not _accepts(request, high):
        return 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _accepts(request, middle) else (middle, high)
    return high


def _accepts(request: Request, size: int) -> bool:
    """Call an application up to its first layer: Keras' applications check the size before that."""
    try:
        with _no_layers():
            pretrained.build(request.application, request.options, (size, size, 3), None)
    except _Reached:
        return True
    except Exception:
        return False
    return True


@contextmanager
def _no_layers() -> Iterator[None]:
    def call(self: Any, *positional: Any, **named: Any) -> Any:
        raise _Reached

    original = keras.layers.Layer.__call__
    keras.layers.Layer.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = original  # type: ignore[method-assign]


def preprocessing_warning(request: Request) -> str:
    """Compare the pixels that reach one of Keras' backbones with those that it was trained on; "" where they are alike.

    The latter are those of the `preprocess_input` beside it, which leaves pixels as they are for a backbone that
    rescales them by itself.
    """
    application = request.application
    preprocess = getattr(application, "__globals__", {}).get("preprocess_input")
    if not pretrained.of_keras(application) or not preprocess or request.options.get("include_preprocessing") is False:
        return ""
    try:
        inputs = keras.utils.get_source_inputs(request.x)
        shape = [side or 32 for side in inputs[0].shape[1:]]
        pixels = np.random.default_rng(0).uniform(0, 255, (4, *shape)).astype(np.float32)
        pixels[:2] = np.array([0, 255])[:, None, None, None]  # black and white
        given = np.asarray(keras.Model(inputs, request.x)([pixels], training=False))
    except Exception:  # several inputs, or none of three channels: nothing is known of them
        return ""
    right = np.asarray(preprocess(np.resize(pixels, given.shape)))
    ratio = given.std() / right.std()
    if 1 / CLOSE < ratio < CLOSE and abs(given.mean() - right.mean()) < right.std():
        return ""
    span, wanted = (f"{values.min():.4g} to {values.max():.4g}" for values in (given, right))
    if wanted == "0 to 255":
        return f"{application.__name__} rescales pixels by itself: it must be given {wanted}, and gets {span}"
    module = application.__module__.replace("keras.src.", "keras.")
    return f"{application.__name__} was trained on pixels of {wanted}, and gets {span}: see {module}.preprocess_input"
