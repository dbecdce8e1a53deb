"""Avro encoding: varints, schema files, evolution, fingerprints."""
