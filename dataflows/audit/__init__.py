"""Audits of a ledger: verify, replay, prove, trace and compare its records."""
