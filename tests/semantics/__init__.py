"""Conformance tests: what a client sees on the wire, one numbered fact at a time."""
