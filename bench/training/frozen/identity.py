"""Identity of an operation: everything that its output depends on besides its inputs, as data to hash.

For Keras' layers this is their class, settings and weights. Other layers and functions can also depend on their source
files, closures, attributes and globals. If part of this cannot be read, the frozen prefix ends before the operation.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bench.training.keras_private import layers_within


class NoPrefix(Exception):
    """A model must be trained end to end; the message is the reason."""


def identity(operation: Any, arguments: Any) -> list[Any]:
    """List everything that an operation's output depends on besides its inputs: plain data for `digest`.

    Args:
        operation: An operation or layer of Keras, or of a derived class.
        arguments: Its positional and named arguments; symbolic tensors represent inputs.

    Raises:
        NoPrefix: It has no settings, or refers to an object whose content cannot be read.
    """
    descriptions = keras.tree.map_structure(_describe_argument, arguments)
    return [_describe_operation(operation, ()), descriptions, weights(operation)]


def code(operation: Any, arguments: Any) -> list[Any]:
    """List the same without the weights, and without the settings of a class that has none but its attributes."""
    try:
        config = settings(operation)
    except NoPrefix:
        if is_keras(type(operation)):
            raise
        config = {}
    return [_describe_operation(operation, (), config), keras.tree.map_structure(_describe_argument, arguments)]


def content(value: Any) -> Any:
    """Describe everything that a value holds; NoPrefix if part of it cannot be read."""
    return _describe(value, ())


def settings(operation: Any) -> dict[str, Any]:
    """Return the settings of an operation, optimizer or loss that affect its result."""
    try:
        config = operation.get_config()
    except (NotImplementedError, TypeError, ValueError):
        reason = f"{type(operation).__name__} has no get_config that can be read, so its features cannot be identified"
        raise NoPrefix(reason) from None
    return {name: value for name, value in config.items() if name not in ("name", "trainable")}


def weights(layer: Any) -> list[str]:
    """Hash every variable of a layer."""
    return [_describe_array(variable.value) for variable in getattr(layer, "variables", ())]


def fingerprint(model: keras.Model) -> str:
    """Hash the settings and weights of all layers of a model, frozen or not."""
    layers = [layer for layer in layers_within(model) if not isinstance(layer, keras.Model)]
    return digest([settings(layer) for layer in layers], [weights(layer) for layer in layers])


def digest(*parts: Any) -> str:
    """Hash plain data: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_describe_argument).encode()).hexdigest()[:32]


def is_keras(value: Any) -> bool:
    """Return whether a class, function or object is part of Keras, TensorFlow or Python."""
    module = getattr(value, "__module__", type(value).__module__)
    return str(module).split(".")[0] in ("keras", "tensorflow", "builtins", "abc")


def is_other_code(operation: Any) -> bool:
    """Return whether an operation runs code from outside Keras."""
    return not is_keras(type(operation)) or isinstance(operation, keras.layers.Lambda)


# -- descriptions; `enclosing` are the objects being described, so that a reference to one of them ends the recursion

Enclosing = tuple[Any, ...]


def _describe_operation(operation: Any, enclosing: Enclosing, config: Mapping[str, Any] | None = None) -> list[Any]:
    enclosing = (*enclosing, operation)
    classes = [_describe_class(cls, enclosing) for cls in type(operation).__mro__ if not is_keras(cls)]
    attributes = {
        name: value
        for name, value in vars(operation).items()
        if not name.startswith("_self_") and name not in _attributes_of_keras()  # TensorFlow adds the former
    }
    if not is_other_code(operation):  # its settings contain the others
        attributes = {name: value for name, value in attributes.items() if callable(value) and not is_keras(value)}
    name = f"{type(operation).__module__}.{type(operation).__qualname__}"
    return [name, settings(operation) if config is None else config, classes, _describe(attributes, enclosing)]


@functools.cache
def _attributes_of_keras() -> frozenset[str]:
    return frozenset(vars(keras.layers.Layer()) | vars(keras.Model()))


def _describe(value: Any, enclosing: Enclosing) -> Any:
    """Describe a value that code uses; NoPrefix if its content cannot be read."""
    if any(value is outer for outer in enclosing):
        return ["within", type(value).__name__]
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Enum | np.dtype | slice | range):
        return repr(value)
    if isinstance(value, Mapping):
        return [[_describe(key, enclosing), _describe(element, enclosing)] for key, element in value.items()]
    if isinstance(value, list | tuple):
        return [_describe(element, enclosing) for element in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_describe(element, enclosing)) for element in value)
    if hasattr(value, "__array__") and not isinstance(value, type):
        return _describe_array(value)
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type):
        return _describe_class(value, enclosing)
    if isinstance(value, functools.partial):
        return ["partial", *(_describe(part, enclosing) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return [_describe(value.__self__, enclosing), _describe(value.__func__, enclosing)]
    if isinstance(value, types.FunctionType):
        return _describe_function(value, enclosing)
    if isinstance(value, keras.Operation):
        return [_describe_operation(value, enclosing), weights(value)]
    if is_keras(value) and hasattr(value, "get_config"):
        return [type(value).__name__, _describe(settings(value), (*enclosing, value))]
    if type(value).__module__.startswith("keras.") or isinstance(value, types.BuiltinFunctionType | np.ufunc):
        return repr(getattr(value, "__qualname__", getattr(value, "__name__", type(value).__qualname__)))
    raise NoPrefix(f"an object of class {type(value).__name__} cannot be read, so its features cannot be identified")


def _describe_class(cls: type, enclosing: Enclosing) -> list[Any]:
    name = f"{cls.__module__}.{cls.__qualname__}"
    if is_keras(cls) or any(cls is outer for outer in enclosing):
        return [name]
    members = (inspect.unwrap(getattr(member, "__func__", member)) for member in vars(cls).values())
    used = [member for member in members if isinstance(member, types.FunctionType) or _is_data(member)]
    return [name, *(_describe(member, (*enclosing, cls)) for member in used)]


def _describe_function(function: types.FunctionType, enclosing: Enclosing) -> list[Any]:
    """Describe a function: its source file, its code, its defaults, and the globals and closure that it uses."""
    enclosing = (*enclosing, function)
    if is_keras(function):
        return [function.__module__, function.__qualname__, _cells(function, enclosing)]
    wrapped = inspect.unwrap(function)
    if wrapped is not function:
        return [_describe(wrapped, enclosing)]
    try:
        source = Path(function.__code__.co_filename).read_bytes()
    except OSError:
        raise NoPrefix(f"the code of {function.__qualname__} cannot be read") from None
    names = _names(function.__code__)
    data = {name: value for name, value in sorted(function.__globals__.items()) if name in names and _is_data(value)}
    return [
        hashlib.sha256(source).hexdigest(),
        _describe_code(function.__code__),
        _describe([function.__defaults__, function.__kwdefaults__, data], enclosing),
        _cells(function, enclosing),
    ]


def _cells(function: types.FunctionType, enclosing: Enclosing) -> list[Any]:
    return [_describe(cell.cell_contents, enclosing) for cell in function.__closure__ or ()]


def _describe_code(code: types.CodeType) -> list[Any]:
    constants = [
        _describe_code(constant) if isinstance(constant, types.CodeType) else repr(constant)
        for constant in code.co_consts
    ]
    return [code.co_code.hex(), list(code.co_names), constants]


def _names(code: types.CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names, nested))


def _is_data(value: Any) -> bool:
    is_plain = isinstance(value, bool | int | float | complex | str | bytes | list | tuple | dict | set | frozenset)
    return is_plain or (hasattr(value, "__array__") and not isinstance(value, type))


def _describe_argument(argument: Any) -> str:
    if isinstance(argument, keras.KerasTensor):
        return "tensor"
    if hasattr(argument, "__array__"):  # its `repr` would omit numbers
        return _describe_array(argument)
    return repr(argument)


def _describe_array(array: Any) -> str:
    values = np.ascontiguousarray(array)
    if values.dtype == object:
        raise NoPrefix("an array of objects cannot be read, so its features cannot be identified")
    content = hashlib.sha256(values.tobytes()).hexdigest()
    return f"{values.dtype} {values.shape} {content}"
