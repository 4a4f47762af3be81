"""ConvNeXt-Tiny (Liu et al., 2022): plain convolutions with the design of vision transformers."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True


def build(hp, task):
    return transfer(hp, task, "ConvNeXtTiny", block="convnext_tiny_stage_{}_")


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
