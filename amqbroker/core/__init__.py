"""The broker's rules: queues, consumers, channels, virtual hosts.

Deterministic; no I/O, clock or randomness.
"""
