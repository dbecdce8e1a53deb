"""Compares every place that is filled from the ledger with it, and repairs what differs."""
