"""Measurements that anyone can repeat: ``python -m benchmarks --help``.

Each compares the gateway with something that runs beside it in the same minute, because
absolute times say more about the machine than about the program.
"""
