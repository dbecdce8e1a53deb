"""Places that are filled from the ledger, compared with it."""
