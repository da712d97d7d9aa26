"""An always-on gateway that puts AI agents behind one port."""

__version__ = "0.1.0"
