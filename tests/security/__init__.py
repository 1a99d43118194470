"""Attempts to get at what is somebody else's. None may succeed: docs/SECURITY.md lists them."""
