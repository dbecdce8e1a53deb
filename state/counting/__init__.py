"""Counting: intake, deduplication, partial counts, slots."""
