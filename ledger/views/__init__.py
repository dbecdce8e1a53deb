"""Read views of the logs: regions, closes, control, issues, progress; and the online store."""
