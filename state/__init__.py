"""Pure folds over arrays: no connection, no environment, no clock. Time and randomness are passed in."""
