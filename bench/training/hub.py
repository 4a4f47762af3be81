"""Image presets of KerasHub as applications, from files that are on this machine; needs the extra `hub`.

A preset is a folder with `config.json`, `model.weights.h5` and perhaps `image_converter.json`. KerasHub downloads
presets into the cache of kagglehub (`KAGGLEHUB_CACHE`); here they are only read.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from bench.errors import ConfigError

PREFIX = "hub:"

CONFIG, WEIGHTS, CONVERTER = "config.json", "model.weights.h5", "image_converter.json"

KAGGLE = "kaggle://"


class Preset:
    """A preset's backbone, which is called like a function of `keras.applications`.

    Args:
        name: Name of an image preset of KerasHub, or path of a folder with a preset.

    Raises:
        ConfigError: KerasHub is not installed, the preset is unknown, or its files are not on this machine.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = f"{PREFIX}{name}"
        try:
            import keras_hub
        except ImportError:
            raise ConfigError(
                f"backbone {self.__name__!r} needs the package keras-hub: pip install 'image-model-bench[hub]'"
            ) from None
        self._hub: Any = keras_hub
        self._folder = _folder(name, keras_hub.models.ImageClassifier.presets)

    def __call__(self, include_top: bool, weights: str | None, input_shape: tuple[int | None, ...]) -> keras.Model:
        """Build the backbone; it has no top. Weights other than None are those of the preset."""
        file = self._folder / WEIGHTS
        if weights and not file.is_file():
            raise FileNotFoundError(f"there is no {file}")
        # As the applications do, so that the weights can be found without loading them.
        path = keras.utils.get_file(str(file), origin=file.as_uri()) if weights else ""
        backbone = self._hub.models.Backbone.from_preset(
            str(self._folder), load_weights=False, image_shape=tuple(input_shape)
        )
        if path:
            backbone.load_weights(path)
        return keras.Model(backbone.input, backbone.output, name=backbone.name)  # of no class of KerasHub

    def preprocess_input(self, x: Any) -> Any:
        """Scale raw pixels, 0 to 255, as the preset's image converter does, without its resizing."""
        if not (self._folder / CONVERTER).is_file():
            raise ValueError(f"there is no {self._folder / CONVERTER}: preprocess the pixels in build")
        converter = self._hub.layers.ImageConverter.from_preset(str(self._folder))
        scale, offset = converter.scale, converter.offset
        return keras.layers.Rescaling(1.0 if scale is None else scale, 0.0 if offset is None else offset)(x)


def _folder(name: str, presets: Mapping[str, Any]) -> Path:
    """Find the folder of a preset."""
    if (folder := Path(name).expanduser().absolute()) and (folder / CONFIG).is_file():
        return folder
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=5, cutoff=0.3)
        raise ConfigError(
            f"unknown preset {name!r}: neither a folder with {CONFIG} nor an image preset of KerasHub, such as "
            f"{', '.join(near or sorted(presets)[:5])}"
        )
    from kagglehub.config import get_cache_folder

    folder = Path(get_cache_folder(), "models", presets[name]["kaggle_handle"].removeprefix(KAGGLE))
    if not (folder / CONFIG).is_file():
        raise ConfigError(
            f"the preset {name} is not in {folder}: download it once, keras_hub.models.Backbone.from_preset({name!r})"
        )
    return folder
