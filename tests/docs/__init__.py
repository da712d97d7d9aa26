"""The manual: what it says is so, and its examples run."""
