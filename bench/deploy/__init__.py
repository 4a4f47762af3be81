"""A chosen model outside the suite."""
