"""A small convolutional network, trained end to end on flipped pictures."""

import keras
from keras import layers


def build(hp, task):
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(x)
    for filters in (16, 32, 64, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(0.3)(x)
    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    hp.Choice("augmentation", ["none", "flip"])
    return keras.Model(inputs, task.classify(x))


KNOWN_CONFIGURATIONS = [{"learning_rate": 1e-3, "augmentation": "flip"}]
