"""Rides: columns, codec, cells, measures, partitioner."""
