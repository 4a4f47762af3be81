"""InceptionV3 (Szegedy et al., 2016): parallel factorised convolutions, for 75 pixels and more."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True


def build(hp, task):
    return transfer(hp, task, "InceptionV3", block=["mixed2", "mixed7"])


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
