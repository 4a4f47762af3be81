"""NASNet-A Mobile (Zoph et al., 2018): cells found by architecture search, small but deep."""

from _transfer import FROZEN_WITH_SMALL_HEAD, transfer

OPTIONAL = True


def build(hp, task):
    return transfer(hp, task, "NASNetMobile", block=["normal_concat_3", "normal_concat_8"])


KNOWN_CONFIGURATIONS = [FROZEN_WITH_SMALL_HEAD]
