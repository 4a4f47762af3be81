"""VGG16 (Simonyan and Zisserman, 2014): 13 plain convolutions, large and slow."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, centred, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.VGG16, centred, block="block{}_")


# As published for Dogs vs. Cats, 3,000 pictures, a frozen base extended with dense layers and run end to end on
# augmented pictures: 0.897 on the test pictures. Size, head, optimizer and rate are those of Chollet, "Deep Learning
# with Python" (2017), section 5.3.
_EXTENDED = {
    **FROZEN_WITH_SMALL_HEAD,
    "input_size": 150,
    "head": "flatten",
    "dense_layer": True,
    "dense_units": 256,
    "dropout": 0.0,
    "learning_rate": 2e-5,
    "optimizer": "rmsprop",
    "augmentation": "light",
}

KNOWN_CONFIGURATIONS = [
    {**FROZEN_WITH_SMALL_HEAD, "input_size": 96},
    # As published for Dogs vs. Cats: validation accuracy 0.95. There the output was a softmax of two units, here it is
    # one sigmoid unit; dropout, optimizer and rate were not published.
    {
        **FROZEN_WITH_SMALL_HEAD,
        "input_size": 128,
        "frozen": "layers",
        "frozen_layers": 15,
        "two_phases": False,
        "head": "flatten",
        "dropout": 0.5,
        "learning_rate": 1e-4,
    },
    _EXTENDED,
]
