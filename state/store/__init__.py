"""Online stores of forecasts: one protocol, two implementations."""
