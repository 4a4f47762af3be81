"""DenseNet121 (Huang et al., 2017): every layer sees all before it, few parameters."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True


def build(hp, task):
    return transfer(hp, task, "DenseNet121", block=["pool2_pool", "pool3_pool", "pool4_pool"])


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
