"""MobileNet (Howard et al., 2017): depthwise separable convolutions, made for phones."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, scaled, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.MobileNet, scaled)


KNOWN_CONFIGURATIONS = [{**FROZEN_WITH_SMALL_HEAD, "frozen_layers": 86}]
