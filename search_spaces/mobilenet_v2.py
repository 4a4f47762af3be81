"""MobileNetV2 (Sandler et al., 2018): inverted residuals, better at the same size."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, scaled, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.MobileNetV2, scaled)


KNOWN_CONFIGURATIONS = [{**FROZEN_WITH_SMALL_HEAD, "frozen_layers": 154}]
