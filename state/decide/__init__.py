"""What to do about what was measured: promote, reject or roll back a model, and when to train another."""
