"""Rare classes: whether training makes up for them, shared by all families of networks."""


def search_imbalance(hp, task):
    """Search for balanced sampling or class weights where the classes are unbalanced; both at once change nothing."""
    if not task.unbalanced:
        return
    hp.Choice("sampling", ["natural", "balanced"])
    hp.Choice("class_weight", ["none", "balanced"], parent_name="sampling", parent_values=["natural"])
