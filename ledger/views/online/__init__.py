"""The online store: newest forecasts per region, in memory or in Redis, behind one protocol."""
