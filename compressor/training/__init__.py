"""Retraining a pruned network."""
