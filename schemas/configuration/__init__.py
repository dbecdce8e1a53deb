"""Settings: their table, values, bounds and sources, and the addresses and client properties among them."""
