"""The command line; imports from every other package."""

__version__ = "0.1.0"
