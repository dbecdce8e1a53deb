"""Tests of what watches."""
