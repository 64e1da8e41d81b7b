"""Studies: what was lost in pruning, over methods, ratios, seeds and distributions.

A study judges nothing and releases nothing. It makes networks by every method of a grid, asks them
and the dense network under every distribution, and tells what the field's measurements say.
"""
