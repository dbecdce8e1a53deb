"""Simulated cities and their rides."""
