"""VGG19 (Simonyan and Zisserman, 2014): 16 plain convolutions, larger and slower."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, centred, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.VGG19, centred)


KNOWN_CONFIGURATIONS = [{**FROZEN_WITH_SMALL_HEAD, "input_size": 96, "frozen_layers": 22}]
