"""Formats: bytes to values and back.  Nothing in here owns a socket or a clock."""
