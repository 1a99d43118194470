"""Exchanges: which destinations a message goes to.

Pure tables of bindings, one module a type. They know nothing of queues, connections or storage;
walking from exchange to exchange, alternate exchanges and CC are the virtual host's.
"""
