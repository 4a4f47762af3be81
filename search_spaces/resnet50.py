"""ResNet50 (He et al., 2015): 50 layers of residual blocks, what most publications compare with."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True


def build(hp, task):
    return transfer(hp, task, "ResNet50", block="conv{}_")


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
