"""Plain convolutional networks of searched depth (LeCun et al., 1998), trained from scratch."""

import keras
from _imbalance import search_imbalance
from keras import layers


def build(hp, task):
    size = hp.Choice("input_size", task.input_sizes[:2])  # training from scratch gains little from larger pictures
    filters = hp.Choice("filters", [16, 24, 32])
    widening = 2 if hp.Boolean("doubled_filters", default=True) else 1
    kernel = hp.Choice("kernel", [3, 5])
    normalised = hp.Boolean("batch_normalization")

    x = inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(x)
    for block in range(hp.Int("conv_blocks", 2, 5)):
        width = filters * widening ** min(block, 2)
        x = layers.Conv2D(width, kernel, padding="same", use_bias=not normalised)(x)
        if normalised:
            x = layers.BatchNormalization(momentum=0.9)(x)  # small data has few steps for the running averages
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    if hp.Choice("head", ["pooled", "dense"]) == "pooled":
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = layers.Flatten()(x)
    units = hp.Choice("dense_units", [32, 64, 128, 256, 512], parent_name="head", parent_values=["dense"])
    if units:
        x = layers.Dense(units, activation="relu")(x)
    x = layers.Dropout(hp.Float("dropout", 0.0, 0.6, step=0.1))(x)

    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=1e-3)
    hp.Choice("optimizer", ["adam", "rmsprop"])
    hp.Choice("batch_size", [16, 32, 64])
    hp.Choice("augmentation", ["none", "flip", "light"])
    search_imbalance(hp, task)
    return keras.Model(inputs, task.classify(x))


# The published networks are stacks of convolution and pooling under one dense layer. Unpublished values (size, filters,
# units, rate) are taken from this configuration.
_PUBLISHED = {
    "input_size": 128,
    "filters": 32,
    "doubled_filters": True,
    "kernel": 3,
    "batch_normalization": False,
    "conv_blocks": 4,
    "head": "dense",
    "dense_units": 512,
    "dropout": 0.0,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "batch_size": 32,
    "augmentation": "none",
}
_OF_32_FILTERS = {**_PUBLISHED, "doubled_filters": False, "optimizer": "rmsprop"}
_AUGMENTED = {"augmentation": "light"}
_WITH_DROPOUT = {"augmentation": "light", "dropout": 0.5}

KNOWN_CONFIGURATIONS = [
    {
        "input_size": 96,
        "filters": 32,
        "doubled_filters": True,
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
    # As published for Dogs vs. Cats, 3,000 pictures, 1,000 for validation: 0.82 validation accuracy; with augmentation
    # and dropout before the classifier up to 0.88, and 0.89 on the test pictures.
    _OF_32_FILTERS,
    {**_OF_32_FILTERS, **_AUGMENTED},
    {**_OF_32_FILTERS, **_WITH_DROPOUT},
    # As published for Dogs vs. Cats, rotated, zoomed and flipped, batches of 64: validation accuracy 0.7977 and 0.8617.
    {**_PUBLISHED, **_AUGMENTED, "conv_blocks": 3, "batch_size": 64},
    {**_PUBLISHED, **_AUGMENTED, "conv_blocks": 4, "batch_size": 64},
    # As published for Dogs vs. Cats beside VGG19, without a published accuracy.
    _PUBLISHED,
    {**_PUBLISHED, **_AUGMENTED},
    {**_PUBLISHED, **_WITH_DROPOUT},
]
