"""Histograms of edge directions (Dalal and Triggs, 2005) under a classical classifier: is a network needed?"""

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

ANGLES = 8


def build(hp, task):
    hp.Choice("input_size", task.input_sizes[:2][-1:])  # the cells average finer detail away
    histograms = FunctionTransformer(histograms_of_gradients, kw_args={"cells": hp.Choice("cells", [4, 6, 8])})
    if hp.Choice("classifier", ["trees", "logistic"]) == "trees":
        return make_pipeline(histograms, ExtraTreesClassifier(200))
    return make_pipeline(histograms, StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))


def histograms_of_gradients(pixels, cells):
    """Turn flat pixels, shape (n, side * side * 3), into histograms, shape (n, (cells - 1)**2 * 4 * ANGLES)."""
    return np.concatenate([_histograms(pixels[start : start + 200], cells) for start in range(0, len(pixels), 200)])


def _histograms(pixels, cells):
    """Sum up edge strengths by cell and direction; normalise blocks of 2 x 2 cells, so that light matters little."""
    side = int((pixels.shape[1] // 3) ** 0.5)
    down, right = np.gradient(pixels.reshape(-1, side, side, 3).astype(np.float32), axis=(1, 2))
    strength = np.hypot(down, right)
    clearest = strength.argmax(-1, keepdims=True)  # the channel with the strongest edge
    down, right, strength = (np.take_along_axis(array, clearest, -1) for array in (down, right, strength))
    turns = np.arctan2(down, right) / np.pi % 1 * ANGLES - np.arange(ANGLES)  # of the 180 degrees of a line
    distance = np.abs((turns + ANGLES / 2) % ANGLES - ANGLES / 2)
    votes = strength * np.maximum(0, 1 - distance)  # shared by the two nearest directions
    width = side // cells
    votes = votes[:, : width * cells, : width * cells].reshape(-1, cells, width, cells, width, ANGLES)
    grid = votes.sum((2, 4))
    blocks = np.concatenate([grid[:, :-1, :-1], grid[:, 1:, :-1], grid[:, :-1, 1:], grid[:, 1:, 1:]], -1)
    return (blocks / (np.linalg.norm(blocks, axis=-1, keepdims=True) + 10)).reshape(len(pixels), -1)


KNOWN_CONFIGURATIONS = [{"input_size": 64, "cells": 4, "classifier": "trees"}]
