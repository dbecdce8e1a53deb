"""The embedded ride log: directories of Avro container files with positions."""
