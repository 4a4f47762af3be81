"""The frozen prefix of a model, its features, and the views of pictures that they are computed of."""
