"""For all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no failure: what is slow is found by the time of the whole run.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _outside_github() -> Iterator[None]:
    """A job on GitHub that runs the tests is not told what the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            patch.delenv(name, raising=False)
        yield
