"""Kafka: rides in, forecasts and rejects out, exactly once for consumers that read committed."""
