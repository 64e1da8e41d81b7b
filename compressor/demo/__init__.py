"""A drawn data set, a small network, and the main job on them."""
