"""Data that crosses a boundary: events, records, chunks, regions, settings and errors. Imports no other package of ours."""
