"""Tests of the edges, with real sockets, files, processes and signals."""
