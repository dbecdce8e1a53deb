"""REST, live page and metrics: reads the ledger and the online store, writes only the access log."""
