"""The peer of two benchmarks: a frozen backbone under Keras Tuner's own `RandomSearch`, as a notebook has it.

python keras_tuner_loop.py PICTURES WEIGHTS APPLICATION SIZE EPOCHS FOLDER [--trials N] [--seconds S]

Prints a line of JSON for every trial as it ends: its hyperparameters, its best validation accuracy, and the seconds
since the script was started, so that TensorFlow's import counts.
"""

from __future__ import annotations

import argparse
import json
import time

START_S = time.perf_counter()

import keras  # noqa: E402
import keras_tuner  # noqa: E402
from keras import layers  # noqa: E402

DROPOUTS, RATES, BATCH_SIZE = [0.1, 0.2, 0.3, 0.4, 0.5], [3e-4, 1e-3, 3e-3, 1e-2], 32


class Loop(keras_tuner.RandomSearch):
    """A random search that prints its trials and ends after a time."""

    seconds: float

    def _configure_tensorboard_dir(self, *arguments):
        """Do nothing: it needs a package that Keras Tuner does not depend on."""

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        score = self.oracle.get_trial(trial.trial_id).score
        line = {**trial.hyperparameters.values, "score": score, "seconds": time.perf_counter() - START_S}
        print("TRIAL" + json.dumps(line), flush=True)
        if line["seconds"] > self.seconds:
            raise SystemExit


def main():
    parser = argparse.ArgumentParser()
    for name, kind in [("pictures", str), ("weights", str), ("application", str), ("size", int), ("epochs", int)]:
        parser.add_argument(name, type=kind)
    parser.add_argument("folder")
    parser.add_argument("--trials", type=int, default=len(DROPOUTS) * len(RATES))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    shape = (given.size, given.size, 3)

    def pictures(part):
        return keras.utils.image_dataset_from_directory(
            f"{given.pictures}/{part}", label_mode="binary", image_size=shape[:2], batch_size=BATCH_SIZE, seed=0
        )

    def build(hp):
        inputs = keras.Input(shape)
        application = getattr(keras.applications, given.application)
        backbone = application(include_top=False, weights=given.weights, input_shape=shape)
        backbone.trainable = False
        x = backbone(layers.Rescaling(1 / 127.5, offset=-1.0)(inputs), training=False)
        x = layers.Dropout(hp.Choice("dropout", DROPOUTS))(layers.GlobalAveragePooling2D()(x))
        model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
        rate = hp.Choice("learning_rate", RATES)
        model.compile(optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy", metrics=["accuracy"])
        return model

    tuner = Loop(
        build, objective="val_accuracy", max_trials=given.trials, seed=1, directory=given.folder, project_name="random"
    )
    tuner.seconds = given.seconds
    tuner.search(pictures("train"), validation_data=pictures("validation"), epochs=given.epochs, verbose=0)


if __name__ == "__main__":
    main()
