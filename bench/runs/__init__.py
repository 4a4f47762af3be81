"""A run folder: its records, results, predictions, thumbnails and environment."""
