"""Agents and their runs: routing, lanes, the log of a run, the one way to start it."""
