"""The runner behind `make bench`: plan, start, check, load, measure, stop, record."""
