"""Devices: who they prove to be, which are paired, and their tokens."""
