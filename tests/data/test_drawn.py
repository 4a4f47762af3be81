"""The drawn cats and dogs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench import data
from bench.config import RunConfig
from bench.data.pictures import PictureError
from bench.data.sources.drawn import Drawn, draw


def test_a_seed_draws_the_same_pictures_every_time():
    assert [draw(3, index).tobytes() for index in range(4)] == [draw(3, index).tobytes() for index in range(4)]


def test_every_seed_and_every_picture_is_another():
    every = [draw(seed, index).tobytes() for seed in (0, 1, 2) for index in range(8)]
    assert len(set(every)) == 24


def test_more_pictures_leave_the_first_ones_as_they_are():
    few, many = (data.open(RunConfig(images=images)) for images in (12, 30))
    assert {item.sha256 for item in few.items} <= {item.sha256 for item in many.items}


def test_classes_are_balanced():
    dataset = data.open(RunConfig(images=40, split=(0.7, 0.15, 0.15)))
    assert dataset.classes == ("cats", "dogs")
    assert Counter(data.labels(dataset.part("train")).tolist()) == {0: 14, 1: 14}
    assert dataset.input_sizes == (32, 64, 128)
    assert dataset.info().source == "drawn cats and dogs (seed 0)"


def test_pictures_are_rgb_of_64_pixels():
    pixels = Drawn(12, 0).picture("dogs/000001").pixels
    assert (pixels.dtype, pixels.shape) == ("uint8", (64, 64, 3))


@pytest.mark.parametrize("name", ["dogs/000000", "dogs/000013", "cats/x", "cats"])
def test_other_names_are_refused(name):
    with pytest.raises(PictureError, match="none of the 12 drawn ones"):
        Drawn(12, 0).picture(name)


@pytest.mark.slow
def test_colour_does_not_tell_the_classes_apart():
    """Mean colours of 300 cats and 300 dogs are closer than four standard errors."""
    means = np.array([np.asarray(draw(0, index)).mean((0, 1)) for index in range(600)])
    cats, dogs = means[0::2], means[1::2]
    error = np.sqrt(cats.var(0) / 300 + dogs.var(0) / 300)
    assert (np.abs(cats.mean(0) - dogs.mean(0)) < 4 * error).all()
