"""The fold of a region: forecast, score, learn, train, evaluate."""
