"""The fold of a region: it forecasts, scores and learns; training and evaluation."""
