"""Celery on the broker: a worker, its tasks, and what a program and an operator do with them."""
