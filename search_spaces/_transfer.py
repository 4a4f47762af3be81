"""Transfer learning, shared by the families with a pretrained backbone: frozen below, trained above."""

import keras
from keras import layers


def transfer(hp, task, application, preprocess):
    """A backbone on preprocessed pixels, its first layers frozen, under a new head.

    Args:
        application: A function of `keras.applications`.
        preprocess: Takes the raw pixels' tensor, 0 to 255, to what the backbone was trained on.
    """
    size = hp.Choice("input_size", task.input_sizes)
    inputs = keras.Input((size, size, 3))
    x, backbone = task.backbone(application, preprocess(inputs))
    count = len(backbone.layers)
    for layer in backbone.layers[: hp.Int("frozen_layers", 0, count, default=count)]:
        layer.trainable = False

    if hp.Choice("head", ["average_pooling", "flatten"]) == "average_pooling":
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = layers.Flatten()(x)
    if hp.Boolean("dense_layer"):
        units = hp.Choice("dense_units", [64, 128, 256], parent_name="dense_layer", parent_values=[True])
        x = layers.Dense(units, activation="relu")(x)
    x = layers.Dropout(hp.Float("dropout", 0.0, 0.6, step=0.1))(x)

    hp.Float("learning_rate", 1e-5, 1e-2, sampling="log", default=1e-3)
    hp.Choice("optimizer", ["adam", "rmsprop"])
    return keras.Model(inputs, task.classify(x))


def scaled(x):
    """Pixels in -1 to 1, as the MobileNets were trained (`keras.applications`, mode "tf")."""
    return layers.Rescaling(1 / 127.5, offset=-1.0)(x)


def centred(x):
    """Blue, green, red less their ImageNet means, as the VGGs were trained (mode "caffe")."""
    return layers.Normalization(mean=[103.939, 116.779, 123.68], variance=[1.0, 1.0, 1.0])(x[..., ::-1])


FROZEN_WITH_SMALL_HEAD = {
    "input_size": 160,
    "head": "average_pooling",
    "dense_layer": False,
    "dropout": 0.2,
    "learning_rate": 1e-3,
    "optimizer": "adam",
}
"""Feature extraction: everything frozen, one dropout and the classifying layer (each family adds its layer count)."""
