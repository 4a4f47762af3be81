"""VGG19 (Simonyan and Zisserman, 2014): 16 plain convolutions, larger and slower."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, centred, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.VGG19, centred, block="block{}_")


# As published for Dogs vs. Cats: over 0.99 with VGG19, as feature extractor and fine-tuned. Size, head and rates were
# not published; these are common values.
_EXTRACTOR = {
    **FROZEN_WITH_SMALL_HEAD,
    "head": "flatten",
    "dense_layer": True,
    "dense_units": 256,
    "dropout": 0.5,
    "learning_rate": 1e-4,
}
_FINE_TUNED = {
    "frozen": "blocks",
    "frozen_through": "block4",
    "two_phases": True,
    "head_epochs": 10,
    "epochs": 10,
    "fine_tune_learning_rate": 1e-5,
    "augmentation": "light",
}

KNOWN_CONFIGURATIONS = [
    {**FROZEN_WITH_SMALL_HEAD, "input_size": 96},
    _EXTRACTOR,
    {**_EXTRACTOR, **_FINE_TUNED},
]
