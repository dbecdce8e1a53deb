"""Wiring: sources, sinks and the flows between them. No arithmetic lives here."""
