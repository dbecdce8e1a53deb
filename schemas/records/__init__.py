"""Contents of logs: typed records, their codec, upcasters and stored schemas."""
