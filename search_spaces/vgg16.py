"""VGG16 (Simonyan and Zisserman, 2014): 13 plain convolutions, large and slow."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, centred, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.VGG16, centred)


KNOWN_CONFIGURATIONS = [{**FROZEN_WITH_SMALL_HEAD, "input_size": 96, "frozen_layers": 19}]
