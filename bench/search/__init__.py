"""The search: families, the schedule of an engine, a trial as seen by the driver, scoring."""
