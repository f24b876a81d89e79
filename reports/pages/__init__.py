"""The report: one HTML page a group, and an index, from the results and nothing else."""
