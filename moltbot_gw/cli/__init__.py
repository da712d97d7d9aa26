"""The ``moltbot`` command: a client of the gateway, and the way to start one."""
