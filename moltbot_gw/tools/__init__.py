"""The agents' own tools."""
