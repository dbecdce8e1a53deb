"""What logs say: typed records, their codec, upcasters and stored schemas."""
