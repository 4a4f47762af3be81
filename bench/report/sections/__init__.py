"""The sections of a run's page: each module has `section(run)`, the data of one template in `templates/sections`."""
