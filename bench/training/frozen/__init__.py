"""The frozen part of a model: where it ends, its features and their views."""
