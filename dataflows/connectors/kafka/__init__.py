"""Kafka: rides in, forecasts and rejects out, exactly once for who reads committed."""
