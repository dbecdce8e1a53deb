"""Verification: recompute everything from the stored bytes."""
