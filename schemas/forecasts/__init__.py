"""Published forecasts: chunks and messages."""
