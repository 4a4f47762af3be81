"""A backbone of fixed random weights: its head trained on its features, computed once, then its last layer too."""

import keras
from keras import layers


def build(hp, task):
    backbone = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 127.5, offset=-1)], name="backbone")
    for seed, filters in enumerate((32, 64, 128)):
        initial = keras.initializers.HeNormal(seed=seed)  # the same whatever the training's seed: no noise of its own
        convolution = layers.Conv2D(
            filters, 5, strides=2, padding="same", activation="relu", kernel_initializer=initial
        )
        convolution.trainable = filters == 128
        backbone.add(convolution)
    inputs = keras.Input((32, 32, 3))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(backbone(inputs)))
    hp.Fixed("head_epochs", 4)
    hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    hp.Float("fine_tune_learning_rate", 1e-5, 1e-3, sampling="log")
    return keras.Model(inputs, task.classify(x))


KNOWN_CONFIGURATIONS = [{"learning_rate": 1e-3, "fine_tune_learning_rate": 3e-4}]
