"""The scenarios, a module for each area; `catalogue` loads them all."""
