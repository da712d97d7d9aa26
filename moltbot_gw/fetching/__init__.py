"""Fetch what strangers name, from public addresses of the web and from nowhere else."""
