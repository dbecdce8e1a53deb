"""What crosses a boundary: events, records, chunks, regions, settings and errors. Imports nothing of ours."""
