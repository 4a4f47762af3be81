"""ResNet50V2 (He et al., 2016): residual blocks with activation before convolution."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True
BLOCKS = ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out"]


def build(hp, task):
    return transfer(hp, task, "ResNet50V2", block=BLOCKS)


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
