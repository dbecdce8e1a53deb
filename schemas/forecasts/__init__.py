"""Forecasts as they leave: chunks and messages."""
