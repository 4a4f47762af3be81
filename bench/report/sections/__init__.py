"""The sections of a run's page: one module per section, whose function returns the data of its template."""
