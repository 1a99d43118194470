"""Tests of the exchange types."""
