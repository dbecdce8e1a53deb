"""Models of demand: one algorithm, one file."""
