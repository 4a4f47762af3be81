"""Faults of a search space: builds its corners, and compares what they declare with what they use."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from bench.errors import SpaceError
from bench.hyperparameters import HyperParameters, Value, fixed
from bench.records import Speed, Work
from bench.training import declarations, footprint, loading
from bench.training.backbones import Request, Scan, preprocessing_warning
from bench.training.dry_run import DryRun, dry_run
from bench.training.exploration import Exploration, NoBuild, OutOfTime, Variant, nearest
from bench.training.frozen.graph import Graph
from bench.training.frozen.identity import NoPrefix, code, content, digest, is_other_code
from bench.training.imbalance import Balancing
from bench.training.keras_private import Functional, compile_settings, layers_within, nodes_of
from bench.training.messages import Channel, Corner, LintFinding, LintJob, LintKind, LintResult
from bench.training.phases import phases
from bench.training.pretrained import named_application
from bench.training.probe import (
    checked_known,
    checked_model,
    count_work,
    recording_picture_access,
    size_warnings,
    usable_sizes,
)
from bench.training.task import BuiltBackbones, ReusingTask, Task

_T = TypeVar("_T")

MAX_EXPLORATION_S = 15.0
"""Maximum duration of the builds with other values than the defaults."""

SLOW_BUILD_S = 5.0
"""Duration of a build that is a finding."""

SCALED = (0.02, 20.0)
"""Standard deviations of pixels that count as scaled; raw ones have 74, those divided by 255 have 0.3."""

NORMALIZING = ("BatchNormalization", "GroupNormalization", "LayerNormalization", "UnitNormalization")


def lint(job: LintJob, channel: Channel) -> LintResult:
    """Look for faults in a family's file; a file that cannot be built is a finding too."""
    try:
        return _Linter(job).result()
    except SpaceError as error:
        return LintResult(findings=(LintFinding(LintKind.BROKEN, error.message, str(error.path), error.line),))


class _Linter:
    """The check of one family."""

    def __init__(self, job: LintJob) -> None:
        self._loaded = loading.load(Path(job.path))
        self._files = [self._loaded.path, *(Path(str(one.__file__)) for one in self._loaded.neighbours.values())]
        self._job = job
        self._findings: list[LintFinding] = []
        self._notes: list[str] = []
        if job.deterministic:
            tf.config.experimental.enable_op_determinism()  # as in a trial

    def result(self) -> LintResult:
        """Run all checks; SpaceError if the default configuration cannot be trained."""
        with recording_picture_access(self._loaded.path.parent) as accessed:
            scan, self._job, too_small = usable_sizes(self._loaded, self._job)
            self._notes += size_warnings(too_small)
            if not self._job.input_sizes:
                return LintResult(notes=tuple(self._notes))
            hp, task, model = self._compare_builds()
            exploration = self._explore()
            self._check_known(exploration)
        if accessed:
            self._find(LintKind.PICTURES, f"build reads pictures itself, e.g. {accessed[0]}: they may be test pictures")
        self._check_pixels(scan, task, model)
        tried = self._dry_run({}, hp, task, model)
        for variant in _with_new_code(exploration):
            self._dry_run(_different(variant, exploration.default), *self._build(fixed(variant.values)))
        self._check_effects(exploration)
        for hyperparameter, reason in declarations.unreachable(exploration.space):
            self._find(LintKind.UNREACHABLE, f"{hyperparameter.name} is never active: {reason}", hyperparameter.name)
        corners = tuple(self._corners(exploration))
        speed: Speed | None = None
        if corners and tried.predict_s > 0:
            work = next(corner.work for corner in corners if corner.name == "default")
            speed = Speed(self._build_s, tried.predict_s, work)
        return LintResult(
            corners=corners,
            findings=tuple(dict.fromkeys(self._findings)),
            builds=len(exploration.variants),
            complete=exploration.complete,
            notes=tuple(self._notes),
            speed=speed,
        )

    def _find(self, kind: LintKind, message: str, name: str = "", place: tuple[Path, int] | None = None) -> None:
        """Add a finding at a place, else where the hyperparameter `name` is declared, else at `build`."""
        place = place or (declarations.place_of(name, self._files) if name else None)
        path, line = place or (self._loaded.path, self._loaded.line)
        self._findings.append(LintFinding(kind, message, str(path), line))

    def _build(self, suggest: Callable[..., Value]) -> tuple[HyperParameters, Task, Any]:
        """Import the file again and build a configuration as in a trial."""
        keras.utils.set_random_seed(self._job.seed)
        hp, task = (
            HyperParameters(suggest),
            Task(self._job.class_names, self._job.input_sizes, unbalanced=self._job.unbalanced),
        )
        return hp, task, checked_model(loading.load(self._loaded.path), hp, task)

    def _compare_builds(self) -> tuple[HyperParameters, Task, Any]:
        """Build the defaults twice; both models should be the same."""
        first = self._build(fixed({}))
        start = time.perf_counter()
        second = self._build(fixed({}))
        self._build_s = time.perf_counter() - start
        if self._build_s > SLOW_BUILD_S:
            self._find(
                LintKind.SLOW, f"a build takes {self._build_s:.1f} s, in every trial: only build the model there"
            )
        if difference := _difference(first, second):
            self._find(
                LintKind.DIFFERS,
                f"two builds of the default configuration differ in {difference}: random numbers must come from the "
                "seeds of Python, NumPy's numpy.random or Keras, e.g. not from numpy.random.default_rng()",
            )
        return first

    def _explore(self) -> Exploration:
        self._builder = _Builder(self._loaded, self._job)
        exploration = Exploration(self._builder)
        try:
            exploration.run()
        except NoBuild as error:
            raise SpaceError(Path(error.path), error.line, str(error)) from error
        if not exploration.complete:
            self._notes.append(f"not all values could be tried in {MAX_EXPLORATION_S:g} s")
        for name, (value, failure) in exploration.failures.items():
            place = Path(failure.path), failure.line
            self._find(LintKind.VALUE, f"{name}={value!r} does not build: {failure}", place=place)
        return exploration

    def _check_effects(self, exploration: Exploration) -> None:
        for name in exploration.unused:
            self._find(LintKind.UNUSED, _unused(name, exploration), name)
        for name, (other, value) in exploration.conditional.items():
            self._find(
                LintKind.CONDITIONAL,
                f"{name} changes nothing with the default of {other}, but with {other}={value!r}: declare it with "
                f"parent_name={other!r}, so that it is searched only where it matters",
                name,
            )

    def _check_known(self, exploration: Exploration) -> None:
        """Build the known configurations; each should be a new one, with active hyperparameters only."""
        build, seen = exploration.build, dict[frozenset[tuple[str, Value]], int]()
        for number, values in enumerate(self._loaded.known):
            place = declarations.element(self._loaded.path, loading.KNOWN, number)
            place = place or (self._loaded.path, loading.line_of(self._loaded.path, loading.KNOWN))
            try:
                variant = build(checked_known(self._loaded, number, values, exploration.space))
            except SpaceError as error:
                self._find(LintKind.KNOWN, error.message, place=place)
                continue
            except NoBuild as error:
                self._find(LintKind.KNOWN, f"configuration {number} does not build: {error}", place=place)
                continue
            except OutOfTime:
                self._notes.append(f"known configurations from number {number} on were not built, for lack of time")
                break
            for name in values.keys() - variant.values.keys():
                message = f"configuration {number}: {name}={values[name]!r} is without effect, {name} is not active"
                self._find(LintKind.KNOWN, message, place=place)
            active = frozenset({name: values.get(name, value) for name, value in variant.values.items()}.items())
            if active in seen:
                self._find(LintKind.KNOWN, f"configuration {number} repeats configuration {seen[active]}", place=place)
            seen.setdefault(active, number)

    def _check_pixels(self, scan: Scan, task: Task, model: Any) -> None:
        for warning in filter(None, map(preprocessing_warning, scan.requests.values())):
            self._find(LintKind.PIXELS, warning)
        if isinstance(model, keras.Model) and not task.backbones and (warning := _scaling_warning(model)):
            self._find(LintKind.PIXELS, warning)

    def _dry_run(self, different: Mapping[str, Value], hp: HyperParameters, task: Task, model: Any) -> DryRun:
        if not isinstance(model, keras.Model):
            return DryRun([])
        prefix = f"with {_assignments(different)}: " if different else ""
        try:
            tried = dry_run(model, hp.values, task.num_classes, self._job.seed, task.backbones)
        except ValueError as error:
            if not different:
                raise SpaceError(self._loaded.path, self._loaded.line, str(error)) from error
            tried = DryRun([str(error)])
        for warning in tried.warnings:
            self._find(LintKind.DRY_RUN, f"{prefix}{warning}")
        return tried

    def _corners(self, exploration: Exploration) -> Iterator[Corner]:
        if not exploration.default.parameters:
            return
        for name, variant in exploration.corners().items():
            different = _different(variant, exploration.default)
            yield Corner(name, variant.values, different, self._builder.work(variant.values))


# -- builds


class _Builder:
    """Builds variants of a family without initializing their variables, which would take memory and time.

    Some code needs the values of variables; such a family is built with them.
    """

    def __init__(self, loaded: loading.LoadedFamily, job: LintJob) -> None:
        self._loaded, self._job = loaded, job
        self._models: BuiltBackbones = {}
        self._computed: dict[tuple[str, int], Any] = {}
        self._initializing = False
        self._end_s = time.monotonic() + MAX_EXPLORATION_S

    def __call__(self, values: Mapping[str, Value]) -> Variant:
        """Build a configuration, values outside a range replaced by the nearest.

        Raises:
            NoBuild: It cannot be built.
            OutOfTime: The time was over before; never for the defaults.
        """
        if values and time.monotonic() > self._end_s:
            raise OutOfTime
        return self._with_model(values, self._variant)

    def work(self, values: Mapping[str, Value]) -> Work:
        """Build a configuration again and count the computations of its training."""
        return self._with_model(values, partial(count_work, self._job))

    def _with_model(self, values: Mapping[str, Value], function: Callable[[HyperParameters, Task, Any], _T]) -> _T:
        if not self._initializing:
            try:
                with _uninitialized():
                    return function(*self._built(values))
            except SpaceError:
                self._models, self._computed = {}, {}
        try:
            result = function(*self._built(values))
        except SpaceError as error:
            raise NoBuild(error.message, str(error.path), error.line) from error
        self._initializing = True
        return result

    def _built(self, values: Mapping[str, Value]) -> tuple[HyperParameters, Task, Any]:
        keras.utils.set_random_seed(self._job.seed)
        job, hp = self._job, HyperParameters(nearest(values))
        task = ReusingTask(job.class_names, job.input_sizes, self._models, job.unbalanced)
        return hp, task, checked_model(self._loaded, hp, task)

    def _variant(self, hp: HyperParameters, task: Task, model: Any) -> Variant:
        try:
            identity = digest(self._architecture(model), _read_by_trainer(model, hp.values))
        except NoPrefix:  # part of it cannot be read, so it counts as another model
            identity = digest(time.perf_counter_ns())
        variant = Variant(dict(hp.values), tuple(hp.space), identity)
        if not isinstance(model, keras.Model):
            return variant
        return replace(
            variant,
            parameters=model.count_params(),
            trainable_parameters=footprint.count(model.trainable_weights),
            macs=self._macs(model),
            other_code=frozenset(type(layer).__name__ for layer in layers_within(model) if is_other_code(layer)),
        )

    def _architecture(self, model: Any) -> Any:
        """Describe a model without its weights, as plain data; NoPrefix if part of it cannot be read."""
        if not isinstance(model, keras.Model):
            parameters = model.get_params() if hasattr(model, "get_params") else vars(model)
            return type(model).__name__, sorted((name, repr(value)) for name, value in parameters.items())
        if (nodes := _nodes(model)) is None:
            return code(model, [])
        numbers: dict[int, int] = {}
        described = []
        for node in nodes:
            operation = node.operation
            sources = [numbers.setdefault(id(tensor), len(numbers)) for tensor in node.input_tensors]
            numbers |= {id(tensor): len(numbers) + place for place, tensor in enumerate(node.outputs)}
            if isinstance(operation, keras.Model):
                used = self._once("architecture", operation, self._architecture)
            else:
                used = code(operation, [list(node.arguments.args), dict(node.arguments.kwargs)])
            layers = layers_within(operation) if isinstance(operation, keras.Layer) else []
            described.append([used, sources, [layer.trainable for layer in layers]])
        return [list(tensor.shape) for tensor in model.inputs], described

    def _macs(self, model: keras.Model) -> int:
        if (nodes := _nodes(model)) is None:
            return footprint.macs(footprint.uses(model))
        nested = [node.operation for node in nodes if isinstance(node.operation, keras.Model)]
        inside: list[int] = [self._once("macs", model, self._macs) for model in nested]
        return footprint.macs(footprint.uses_of(nodes)) + sum(inside)

    def _once(self, kind: str, model: keras.Model, function: Callable[[keras.Model], Any]) -> Any:
        """Compute a function of a model; once for a backbone that other builds share."""
        if not any(model is shared for shared in self._models.values()):
            return function(model)
        if (kind, id(model)) not in self._computed:
            self._computed[kind, id(model)] = function(model)
        return self._computed[kind, id(model)]


@contextmanager
def _uninitialized() -> Iterator[None]:
    """Create variables without values."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        keras.utils.clear_session(free_memory=False)  # otherwise the next scope, in any layer's call, initializes them


def _nodes(model: keras.Model) -> list[Any] | None:
    """List the uses of operations in a model, nested models as one; None for a subclassed model."""
    if type(model) is keras.Sequential:
        model = keras.Model(model.inputs, model.outputs)
    return nodes_of(model) if type(model) is Functional else None


def _read_by_trainer(model: Any, values: Mapping[str, Value]) -> Any:
    """Describe the training as far as hyperparameters decide on it."""
    balancing = astuple(Balancing.of(values))
    if not isinstance(model, keras.Model):
        return [values.get("input_size"), balancing]
    names = ["batch_size", "augmentation"] if model.compiled else ["batch_size", "augmentation", "optimizer"]
    read = [balancing, [values.get(name) for name in names], [astuple(phase) for phase in phases(values, epochs=10**9)]]
    if model.compiled:
        return [*read, content(dict(compile_settings(model)))]
    return [*read, values.get("learning_rate")]


def _difference(first: tuple[HyperParameters, Task, Any], second: tuple[HyperParameters, Task, Any]) -> str:
    """Return in what two builds differ; "" if they do not."""
    (first_hp, _, first_model), (second_hp, _, second_model) = first, second
    if first_hp.space != second_hp.space:
        return "their hyperparameters"
    if not isinstance(first_model, keras.Model):
        first_settings, second_settings = (
            re.sub(r" at 0x\w+", "", repr(model)) for model in (first_model, second_model)
        )
        return "" if first_settings == second_settings else "the settings of the classifier"
    pairs = list(zip(first_model.weights, second_model.weights, strict=False))
    shapes = [[tuple(weight.shape) for weight in model.weights] for model in (first_model, second_model)]
    layers = [[type(layer).__name__ for layer in layers_within(model)] for model in (first_model, second_model)]
    if shapes[0] != shapes[1] or layers[0] != layers[1]:
        return "their layers"
    differing = [one.path for one, other in pairs if not np.array_equal(one.numpy(), other.numpy())]
    return f"the initial weights of {differing[0]}" if differing else ""


def _scaling_warning(model: keras.Model) -> str:
    """Return a warning if the first layer with weights gets pixels that are not scaled; "" otherwise or if unknown."""
    try:
        graph = Graph(model)
    except NoPrefix:
        return ""
    node, following = _first_with_kernel(graph)
    if node is None:
        return ""
    nested = [part for part in graph.nested if any(layer is node.operation for layer in layers_within(part.model))]
    for application in filter(None, (named_application(part.model.name) for part in nested)):
        return preprocessing_warning(Request(application, {}, nested[0].inputs[0], {}))
    if following in NORMALIZING:
        return ""
    pixels = np.random.default_rng(0).uniform(0, 255, (4, *graph.input.shape[1:])).astype(np.float32)
    pixels[:2] = np.array([0, 255])[:, None, None, None]  # black and white
    received = np.asarray(keras.Model(graph.input, node.input_tensors[0])(pixels, training=False))
    if SCALED[0] < received.std() < SCALED[1]:
        return ""
    return (
        f"{node.operation.name}, the first layer with weights, gets pixels from {received.min():.4g} to "
        f"{received.max():.4g}: scale them, e.g. by layers.Rescaling(1 / 255) on the raw pixels, 0 to 255"
    )


def _first_with_kernel(graph: Graph) -> tuple[Any, str]:
    """Return the first use of a convolution or dense layer, None after a normalization, and the class that follows."""
    for node, following in zip(graph.nodes, [*graph.nodes[1:], None], strict=True):
        if type(node.operation).__name__ in NORMALIZING:
            break
        if getattr(node.operation, "kernel", None) is not None:
            return node, type(following.operation).__name__ if following else ""
    return None, ""


# -- what was built


def _with_new_code(exploration: Exploration) -> Iterator[Variant]:
    """Yield a variant for each class of layers from outside Keras that the default configuration does not have."""
    seen = set(exploration.default.other_code)
    for variant in exploration.variants:
        if not variant.other_code <= seen:
            seen |= variant.other_code
            yield variant


def _different(variant: Variant, default: Variant) -> dict[str, Value]:
    missing = object()
    return {name: value for name, value in variant.values.items() if default.values.get(name, missing) != value}


def _assignments(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _unused(name: str, exploration: Exploration) -> str:
    """Describe a hyperparameter without effect, and suggest what to do."""
    if name not in declarations.TRAINER_READS:
        meant = declarations.intended(name)
        advice = f"did you mean {meant}, which the trainer reads?" if meant else "use its value in build, or remove it"
        return f"{name} changes nothing: {advice}"
    if not exploration.default.parameters:
        return f"{name} is ignored: the trainer reads it for Keras models only"
    if name == "fine_tune_learning_rate":
        return f"{name} is ignored: the trainer reads it only in two phases, declare head_epochs too"
    return (
        f"{name} is ignored: build compiles the model with another optimizer; give the value to that one, "
        "or leave compile out"
    )
