"""The frozen prefix of a model, its features, and the views of pictures from which they are computed."""
