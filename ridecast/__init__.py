"""The command line: the one place above all others."""
