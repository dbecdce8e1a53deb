"""What logs say, folded for reading: regions, closes, control, issues, progress; the online store."""
