"""Tests of amqbroker.store."""
