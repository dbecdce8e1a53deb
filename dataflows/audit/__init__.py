"""Looking back: verify, replay, prove, trace and compare what a ledger holds."""
