"""The Python clients: one list of checks, and a driver for each library."""
