"""The WebSocket edge: the gateway protocol, version 3, on the HTTP port."""
