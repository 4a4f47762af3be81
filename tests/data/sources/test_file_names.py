"""The pattern of classes in file names is chosen over all names."""

from __future__ import annotations

import hashlib

import pytest

from bench.data.sources.file_names import naming


def classes(*forms, count=6):
    """The classes in names of these forms, each with so many numbers; empty if they name none."""
    names = [form.format(number) for number in range(count) for form in forms]
    rule = naming(names)
    return {label for name in names if (label := rule.class_in(name))} if rule else set()


@pytest.mark.parametrize(
    ("forms", "labels"),
    [
        (("cat.{}.jpg", "dog.{}.JPG"), {"cat", "dog"}),
        (("maine_coon_{}.png", "German-Shepherd-{}.webp"), {"maine_coon", "German-Shepherd"}),
        (("chat noir.{}.jpeg", "猫.{}.jpg"), {"chat noir", "猫"}),
        (("class2_{}.png", "class3_{}.png"), {"class2", "class3"}),
        (("benign ({}).png", "malignant ({}).png"), {"benign", "malignant"}),
        (("cat{}.png", "dog{}.png"), {"cat", "dog"}),
        (("{:06d}-num7.png", "{:06d}-num3.png"), {"num7", "num3"}),
        (("obj1__{}.png", "obj2__{}.png"), {"obj1", "obj2"}),
        (("Abyssinian_{}.jpg", "great_pyrenees_{}.jpg"), {"Abyssinian", "great_pyrenees"}),
        (("n01440764_{}.JPEG", "n02102040_{}.JPEG"), {"n01440764", "n02102040"}),
        (("exp{}_num_1.png", "exq{}_num_2.png"), {"num_1", "num_2"}),
        (("0_{}.png", "1_{}.png"), {"0", "1"}),
        (("IMG_cat_{}.jpg", "IMG_dog_{}.jpg"), {"cat", "dog"}),
        (("{}_cat.jpg", "{}-dog.jpg"), {"cat", "dog"}),
        (("person1_virus_{}.jpg", "person{}_bacteria_2.jpg"), {"virus", "bacteria"}),
        (("cat_{}_flip.jpg", "dog_{}.jpg"), {"cat", "dog"}),
        (("18th_{}.jpg", "3d_{}.jpg"), {"18th", "3d"}),
        (("cat.{}.jpg", "cat-{}.jpg"), {"cat"}),
        (("cat.{}.jpg", "dog.{}.jpg", "{}.jpg", "dog.{}.txt", ".owl.{}.jpg"), {"cat", "dog"}),
    ],
)
def test_the_pattern_that_gives_few_classes_which_repeat_is_taken(forms, labels):
    assert classes(*forms) == labels


@pytest.mark.parametrize(
    "forms",
    [
        ("{}.jpg",),
        ("2024-01-{:02d}.png", "2023-12-{:02d}.png"),
        ("IMG_{:04d}.jpg", "DSC{:04d}.jpg", "PXL_20240105_{:06d}.jpg"),
        ("IMG-20240105-WA{:04d}.jpg", "IMG-20240106-WA{:04d}.jpg"),
    ],
)
def test_numbers_dates_and_cameras_name_no_class(forms):
    assert classes(*forms) == set()


def test_hashes_name_no_class():
    assert naming(hashlib.md5(str(number).encode()).hexdigest()[:12] + ".jpg" for number in range(500)) is None
