"""Durability: the node's journal, its records on disk and what a start recovers from them."""
