"""EfficientNetV2 (Tan and Le, 2021): fused inverted residuals in five sizes, accurate for their cost."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True
BACKBONES = ["EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S"]


def build(hp, task):
    return transfer(hp, task, hp.Choice("backbone", BACKBONES), block="block{}", shared_blocks=6)


KNOWN_CONFIGURATIONS = [{**FROZEN_WITH_SMALL_HEAD, "backbone": name} for name in BACKBONES]
