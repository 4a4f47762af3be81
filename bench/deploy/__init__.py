"""Use of a chosen model outside the suite."""
