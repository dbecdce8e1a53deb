"""Append-only truth: entries, trees, logs, blobs and their verification."""
