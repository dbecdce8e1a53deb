"""The command line; imports from every other package."""
