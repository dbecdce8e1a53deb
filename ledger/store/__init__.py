"""Where logs and blobs are stored: SQLite, PostgreSQL, folders; the guard of checkpoints; keys on disk; the archive."""
