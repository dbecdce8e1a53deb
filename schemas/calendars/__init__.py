"""Calendars of places: which days of a country are holidays."""
