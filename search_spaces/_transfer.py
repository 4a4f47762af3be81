"""Transfer learning: a new head on a pretrained backbone, shared by several families."""

import keras
from _imbalance import search_imbalance
from keras import layers


def transfer(hp, task, application, preprocess=None, *, block, shared_blocks=None):
    """Build a new head on a backbone whose first layers are frozen.

    Args:
        application: A function of `keras.applications`, or its name.
        preprocess: Converts raw pixels, 0 to 255, to the inputs that the backbone was trained on; None applies the
            application's own `preprocess_input`.
        block: Prefix of the names of a block's layers, with `{}` for the block's number, e.g. `block{}_`; or the names
            of the layers that end the blocks.
        shared_blocks: If the backbone is searched too: number of the last block that all of them have.
    """
    size = hp.Choice("input_size", task.input_sizes)
    inputs = keras.Input((size, size, 3))
    if preprocess:
        x, backbone = task.backbone(application, preprocess(inputs))
    else:
        x, backbone = task.backbone(application, inputs, preprocess=True)
    for layer in backbone.layers[: frozen_layers(hp, backbone, block, shared_blocks)]:
        layer.trainable = False

    if hp.Choice("head", ["average_pooling", "flatten"]) == "average_pooling":
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = layers.Flatten()(x)
    hp.Boolean("dense_layer")
    units = hp.Choice("dense_units", [64, 128, 256, 512], parent_name="dense_layer", parent_values=[True])
    if units:
        x = layers.Dense(units, activation="relu")(x)
    x = layers.Dropout(hp.Float("dropout", 0.0, 0.6, step=0.1))(x)

    hp.Float("learning_rate", 1e-5, 1e-2, sampling="log", default=1e-3)
    hp.Choice("optimizer", ["adam", "rmsprop"])
    hp.Choice("batch_size", [16, 32, 64], default=32)
    hp.Choice("augmentation", ["none", "flip", "light"])
    search_imbalance(hp, task)
    return keras.Model(inputs, task.classify(x))


def frozen_layers(hp, backbone, block, shared_blocks=None):
    """Choose the number of frozen layers, from the first: all, those up to the end of a block, or any number.

    Layers are counted as in published recipes: Keras' layers including the input layer. Where the backbone is searched
    too, a number of layers means something else in each, so it is no choice. If not all are frozen, the head may be
    trained first (two phases: Keras guide "Transfer learning & fine-tuning").
    """
    ends, count, first = block_ends(backbone, block, shared_blocks), len(backbone.layers), None
    parts = ["blocks", "layers"] if shared_blocks is None else ["blocks"]
    frozen = hp.Choice("frozen", ["all", *parts])
    through = hp.Choice("frozen_through", list(ends), parent_name="frozen", parent_values=["blocks"])
    if shared_blocks is None:
        first = hp.Int("frozen_layers", 0, count, default=count, parent_name="frozen", parent_values=["layers"])
    with hp.conditional_scope("frozen", parts):
        hp.Boolean("two_phases")
        with hp.conditional_scope("two_phases", [True]):
            hp.Choice("head_epochs", [3, 5, 10])
            hp.Choice("epochs", [3, 5, 10])  # of the second phase
            hp.Float("fine_tune_learning_rate", 1e-6, 1e-3, sampling="log", default=1e-5)
    return {"all": count, "blocks": ends.get(through), "layers": first}[frozen]


def block_ends(backbone, block, last=None):
    """Number of layers up to the end of each block, by the block's name, to that numbered `last`; 0 for "none".

    A block at the end of the backbone is left out, since freezing up to it is freezing all.
    """
    names = [layer.name for layer in backbone.layers]
    if not isinstance(block, str):
        return {"none": 0, **{name: names.index(name) + 1 for name in block}}
    ends, number = {"none": 0}, 1
    while part := [count for count, name in enumerate(names, start=1) if name.startswith(block.format(number))]:
        ends[f"block{number}"] = part[-1]
        number += 1
    return {name: count for name, count in list(ends.items())[: last and last + 1] if count < len(names)}


def scaled(x):
    """Scale pixels to -1 to 1, as the MobileNets were trained (`keras.applications`, mode "tf")."""
    return layers.Rescaling(1 / 127.5, offset=-1.0)(x)


def centred(x):
    """Order channels as blue, green, red and subtract their ImageNet means, as the VGGs were trained (mode "caffe")."""
    return layers.Normalization(mean=[103.939, 116.779, 123.68], variance=[1.0, 1.0, 1.0])(x[..., ::-1])


FROZEN_WITH_SMALL_HEAD = {
    "input_size": 160,
    "frozen": "all",
    "head": "average_pooling",
    "dense_layer": False,
    "dropout": 0.2,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "batch_size": 32,
    "augmentation": "none",
}
"""Feature extraction: all layers frozen, then dropout and the classifier."""
