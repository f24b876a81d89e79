"""Questions to the results, in SQL."""
