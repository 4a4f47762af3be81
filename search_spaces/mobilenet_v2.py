"""MobileNetV2 (Sandler et al., 2018): inverted residuals, better than MobileNet at the same size."""

import keras
from _transfer import FROZEN_WITH_SMALL_HEAD, scaled, transfer


def build(hp, task):
    return transfer(hp, task, keras.applications.MobileNetV2, scaled, block="block_{}_")


# As published for Dogs vs. Cats: rotated, zoomed and flipped pictures, 10 epochs of feature extraction, then 3 epochs
# of the last 30 of 154 layers at a rate of 1e-5. There the batch normalisation among them was trained too; here it
# stays frozen (see `task.backbone`).
_PUBLISHED = {**FROZEN_WITH_SMALL_HEAD, "input_size": 224, "dropout": 0.3, "batch_size": 64, "augmentation": "light"}
_LAST_30 = {
    "frozen": "layers",
    "frozen_layers": 124,
    "two_phases": True,
    "head_epochs": 10,
    "epochs": 3,
    "fine_tune_learning_rate": 1e-5,
}

KNOWN_CONFIGURATIONS = [
    FROZEN_WITH_SMALL_HEAD,
    _PUBLISHED,  # validation accuracy 0.9848
    {**_PUBLISHED, **_LAST_30},  # validation accuracy 0.9854
]
