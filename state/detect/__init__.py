"""What is unusual in what was served: whether every part of a region gets forecasts of the same quality."""
