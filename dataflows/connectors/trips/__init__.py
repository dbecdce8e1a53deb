"""Trip files of other systems, turned into ride events."""
