"""Bytes of Avro: varints, containers, evolution, fingerprints."""
