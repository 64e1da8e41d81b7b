"""For all tests."""

from hypothesis import settings

# A busy machine is no failure: what is slow is found by the time of the whole run.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
