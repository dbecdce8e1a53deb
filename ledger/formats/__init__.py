"""Pure formats: RFC 6962 trees, tiles, notes, checkpoints, keys, proofs, witnesses."""
