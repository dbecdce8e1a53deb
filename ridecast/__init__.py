"""The command line: the one place above all others."""

__version__ = "0.1.0"
