"""Identity of an operation: everything that its output depends on besides its inputs, as data to hash.

Of Keras' own layers these are class, settings and weights. Layers and functions of other code can depend on more: their
source files, the values that they close over, attributes, and globals. What cannot be read ends the frozen prefix.
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
    """A model is trained end to end; the message is the reason."""


def identity(operation: Any, arguments: Any) -> list[Any]:
    """List everything that an operation's output depends on besides its inputs: plain data for `digest`.

    Args:
        operation: An operation or layer of Keras, or of a class derived from it.
        arguments: Its arguments, positional and named; symbolic tensors stand for inputs.

    Raises:
        NoPrefix: It has no settings, or holds something whose content cannot be read.
    """
    described = keras.tree.map_structure(_described, arguments)
    return [_of_operation(operation, ()), described, weights(operation)]


def settings(operation: Any) -> dict[str, Any]:
    """Return the settings of an operation, without those that do not alter its output."""
    try:
        config = operation.get_config()
    except (NotImplementedError, TypeError, ValueError):
        reason = f"{type(operation).__name__} has no get_config that can be read, so its features cannot be told apart"
        raise NoPrefix(reason) from None
    return {name: value for name, value in config.items() if name not in ("name", "trainable")}


def weights(layer: Any) -> list[str]:
    """Hash every variable of a layer."""
    return [_of_array(variable.value) for variable in getattr(layer, "variables", ())]


def fingerprint(model: keras.Model) -> str:
    """Hash the settings and weights of a model's layers, whatever of them is frozen."""
    layers = [layer for layer in layers_within(model) if not isinstance(layer, keras.Model)]
    return digest([settings(layer) for layer in layers], [weights(layer) for layer in layers])


def digest(*parts: Any) -> str:
    """Hash plain data: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_described).encode()).hexdigest()[:32]


def is_keras(thing: Any) -> bool:
    """Tell whether a class, function or object is one of Keras, TensorFlow or Python itself."""
    module = getattr(thing, "__module__", type(thing).__module__)
    return str(module).split(".")[0] in ("keras", "tensorflow", "builtins", "abc")


def is_other_code(operation: Any) -> bool:
    """Tell whether an operation runs code that is not Keras' own."""
    return not is_keras(type(operation)) or isinstance(operation, keras.layers.Lambda)


# -- contents; `within` are the objects that are being described, whose own mention in them ends there

Within = tuple[Any, ...]


def _of_operation(operation: Any, within: Within) -> list[Any]:
    within = (*within, operation)
    classes = [_of_class(cls, within) for cls in type(operation).__mro__ if not is_keras(cls)]
    own = ((name, value) for name, value in vars(operation).items() if not name.startswith("_self_"))  # TensorFlow's
    attributes = {name: value for name, value in own if name not in _attributes_of_keras()}
    if not is_other_code(operation):  # its settings have the others
        attributes = {name: value for name, value in attributes.items() if callable(value) and not is_keras(value)}
    name = f"{type(operation).__module__}.{type(operation).__qualname__}"
    return [name, settings(operation), classes, _of(attributes, within)]


@functools.cache
def _attributes_of_keras() -> frozenset[str]:
    return frozenset(vars(keras.layers.Layer()))


def _of(value: Any, within: Within) -> Any:
    """Describe a value that code uses; NoPrefix where its content cannot be read."""
    if any(value is outer for outer in within):
        return ["within", type(value).__name__]
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Enum | np.dtype | slice | range):
        return repr(value)
    if isinstance(value, Mapping):
        return [[_of(key, within), _of(held, within)] for key, held in value.items()]
    if isinstance(value, list | tuple):
        return [_of(held, within) for held in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_of(held, within)) for held in value)
    if hasattr(value, "__array__") and not isinstance(value, type):
        return _of_array(value)
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type):
        return _of_class(value, within)
    if isinstance(value, functools.partial):
        return ["partial", *(_of(part, within) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return [_of(value.__self__, within), _of(value.__func__, within)]
    if isinstance(value, types.FunctionType):
        return _of_function(value, within)
    if isinstance(value, keras.Operation):
        return [_of_operation(value, within), weights(value)]
    if is_keras(value) and hasattr(value, "get_config"):
        return [type(value).__name__, _of(value.get_config(), (*within, value))]
    if type(value).__module__.startswith("keras.") or isinstance(value, types.BuiltinFunctionType | np.ufunc):
        return repr(getattr(value, "__qualname__", getattr(value, "__name__", type(value).__qualname__)))
    raise NoPrefix(f"what a {type(value).__name__} holds cannot be read, so its features cannot be told apart")


def _of_class(cls: type, within: Within) -> list[Any]:
    name = f"{cls.__module__}.{cls.__qualname__}"
    if is_keras(cls) or any(cls is outer for outer in within):
        return [name]
    members = (inspect.unwrap(getattr(member, "__func__", member)) for member in vars(cls).values())
    used = [member for member in members if isinstance(member, types.FunctionType) or _is_data(member)]
    return [name, *(_of(member, (*within, cls)) for member in used)]


def _of_function(function: types.FunctionType, within: Within) -> list[Any]:
    """Describe a function: its source file, its own code, and the values that it takes from outside."""
    within = (*within, function)
    if is_keras(function):
        return [function.__module__, function.__qualname__, _cells(function, within)]
    wrapped = inspect.unwrap(function)
    if wrapped is not function:
        return [_of(wrapped, within)]
    try:
        source = Path(function.__code__.co_filename).read_bytes()
    except OSError:
        raise NoPrefix(f"the code of {function.__qualname__} cannot be read") from None
    names = _names(function.__code__)
    data = {name: value for name, value in sorted(function.__globals__.items()) if name in names and _is_data(value)}
    return [
        hashlib.sha256(source).hexdigest(),
        _of_code(function.__code__),
        _of([function.__defaults__, function.__kwdefaults__, data], within),
        _cells(function, within),
    ]


def _cells(function: types.FunctionType, within: Within) -> list[Any]:
    return [_of(cell.cell_contents, within) for cell in function.__closure__ or ()]


def _of_code(code: types.CodeType) -> list[Any]:
    constants = [_of_code(held) if isinstance(held, types.CodeType) else repr(held) for held in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _names(code: types.CodeType) -> set[str]:
    nested = (held for held in code.co_consts if isinstance(held, types.CodeType))
    return set(code.co_names).union(*map(_names, nested))


def _is_data(value: Any) -> bool:
    is_plain = isinstance(value, bool | int | float | complex | str | bytes | list | tuple | dict | set | frozenset)
    return is_plain or (hasattr(value, "__array__") and not isinstance(value, type))


def _described(argument: Any) -> str:
    if isinstance(argument, keras.KerasTensor):
        return "tensor"
    if hasattr(argument, "__array__"):  # its `repr` would leave numbers out
        return _of_array(argument)
    return repr(argument)


def _of_array(array: Any) -> str:
    values = np.ascontiguousarray(array)
    if values.dtype == object:
        raise NoPrefix("an array of objects cannot be read, so its features cannot be told apart")
    content = hashlib.sha256(values.tobytes()).hexdigest()
    return f"{values.dtype} {values.shape} {content}"
