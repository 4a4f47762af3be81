"""ConvNeXt-Tiny (Liu et al., 2022): plain convolutions with the design of vision transformers."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True
STAGES = [f"convnext_tiny_downsampling_block_{number}" for number in range(3)]  # each begins the next stage


def build(hp, task):
    return transfer(hp, task, "ConvNeXtTiny", block=STAGES)


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
