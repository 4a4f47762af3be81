"""Plain convolutional networks of searched depth (LeCun et al., 1998), trained from scratch."""

import keras
from keras import layers


def build(hp, task):
    size = hp.Choice("input_size", task.input_sizes[:2])  # from scratch, larger pictures cost more than they give
    filters = hp.Choice("filters", [16, 24, 32])
    kernel = hp.Choice("kernel", [3, 5])
    normalised = hp.Boolean("batch_normalization")

    x = inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(x)
    for block in range(hp.Int("conv_blocks", 2, 5)):
        x = layers.Conv2D(filters * 2 ** min(block, 2), kernel, padding="same", use_bias=not normalised)(x)
        if normalised:
            x = layers.BatchNormalization(momentum=0.9)(x)  # small data: few steps for the running averages
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    if hp.Choice("head", ["pooled", "dense"]) == "pooled":
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = layers.Flatten()(x)
    units = hp.Choice("dense_units", [32, 64, 128], parent_name="head", parent_values=["dense"])
    if units:
        x = layers.Dense(units, activation="relu")(x)
    x = layers.Dropout(hp.Float("dropout", 0.0, 0.6, step=0.1))(x)

    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=1e-3)
    hp.Choice("optimizer", ["adam", "rmsprop"])
    hp.Choice("batch_size", [16, 32])
    hp.Choice("augmentation", ["none", "flip", "light"])
    return keras.Model(inputs, task.classify(x))


KNOWN_CONFIGURATIONS = [
    {
        "input_size": 96,
        "filters": 32,
        "kernel": 3,
        "batch_normalization": True,
        "conv_blocks": 4,
        "head": "pooled",
        "dropout": 0.2,
        "learning_rate": 1e-3,
        "optimizer": "adam",
        "batch_size": 16,
        "augmentation": "flip",
    },
]
