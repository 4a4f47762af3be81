"""Xception (Chollet, 2017): depthwise separable convolutions throughout, for 71 pixels and more."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True


def build(hp, task):
    return transfer(hp, task, "Xception", block="block{}_")


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
