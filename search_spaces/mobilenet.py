"""MobileNet (Howard et al., 2017): depthwise separable convolutions, made for phones."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, scaled, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.MobileNet, scaled, block="conv_pw_{}_")


KNOWN_CONFIGURATIONS = [
    FROZEN_WITH_SMALL_HEAD,
    # As published for Dogs vs. Cats, 8,000 pictures: 0.789 on 2,000 test pictures, which early stopping used too
    # (GitHub, blantj/animal_transfer_image_classification). There MobileNet got raw pixels, 0 to 255, and had two
    # sigmoid outputs; here the pixels are scaled as in its training, and it has one output.
    {**FROZEN_WITH_SMALL_HEAD, "input_size": 224, "dense_layer": True, "dense_units": 128, "dropout": 0.1},
]
