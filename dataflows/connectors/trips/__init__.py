"""Converts trip files of other systems to ride events."""
