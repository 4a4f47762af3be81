"""Which trial is next: families, the schedule of one engine's search, one trial seen from the driver, scoring."""
