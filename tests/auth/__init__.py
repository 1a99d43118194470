"""Tests of users, passwords, permissions and SASL responses."""
