"""MobileNetV3 (Howard et al., 2019): searched for phones, small or large, with squeeze and excitation."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True
BACKBONES = ["MobileNetV3Small", "MobileNetV3Large"]


def build(hp, task):
    return transfer(hp, task, hp.Choice("backbone", BACKBONES), block="expanded_conv_{}_", shared_blocks=10)


KNOWN_CONFIGURATIONS = [{**FROZEN_WITH_SMALL_HEAD, "backbone": name} for name in BACKBONES]
