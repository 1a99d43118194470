"""Tests of what compares the broker with RabbitMQ."""
