"""The original's own command line and terminal UI against this gateway."""
