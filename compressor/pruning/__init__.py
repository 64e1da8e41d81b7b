"""Structured pruning: which channels go, and the surgery that removes them."""
