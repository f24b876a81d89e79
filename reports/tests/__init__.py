"""A package, so that pytest doesn't take the folder `reports/` for the module `reports`."""
