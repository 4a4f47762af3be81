"""The search: families, the schedule of one engine, one trial seen from the driver, scoring."""
