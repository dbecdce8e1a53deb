"""Storage of logs and blobs: SQLite, PostgreSQL, folders; the checkpoint guard; keys on disk; the archive."""
