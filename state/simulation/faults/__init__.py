"""Labelled faults of a simulation: each kind is a pure function and a row of `state.simulation.faults.table`."""
