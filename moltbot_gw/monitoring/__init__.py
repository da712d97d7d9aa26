"""What the gateway tells of itself: whether it is ready, and figures for Prometheus.

The other rooms count in plain numbers (``tallies``); here these are looked at when
somebody asks, so that a request pays for nothing but the counting.
"""
