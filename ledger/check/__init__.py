"""Verification: derive everything again from the stored bytes."""
