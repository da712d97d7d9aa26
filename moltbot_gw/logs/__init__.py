"""The log: what may be seen of an event, how it looks, and where it goes."""
