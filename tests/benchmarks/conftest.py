from tests.loaded_once import loaded_once  # noqa: F401 # a fixture
