"""Adapters to model services; each turns one service's stream into run events."""
