"""Interoperability suite: clients written by others, all put through one checklist."""
