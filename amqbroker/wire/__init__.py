"""Bytes to commands and back: framing, methods, content, the start of a connection."""
