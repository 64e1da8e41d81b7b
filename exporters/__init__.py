"""Accepted weights to files that a device runs, and how fast they run."""
