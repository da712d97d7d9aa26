"""The HTTP edge: a hardened channel, a gate, a Klein router, one handler a file."""
