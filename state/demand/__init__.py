"""Counted demand: history, calendar, seasons, features."""
