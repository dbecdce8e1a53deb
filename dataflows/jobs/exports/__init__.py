"""What a ledger holds, for other people's tools: tiles and tables."""
