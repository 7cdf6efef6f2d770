"""General helpers that every package uses."""
