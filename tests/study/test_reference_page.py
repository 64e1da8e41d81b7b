"""Every test that docs/reference.md names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(
    set(re.findall(r"`(tests/[^`]+)`", (ROOT / "docs" / "reference.md").read_text("utf-8")))
)


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    text = (ROOT / file).read_text("utf-8")
    assert re.search(rf"^def {test or 'test_'}", text, re.MULTILINE)


def test_every_row_names_a_test_or_says_that_it_is_not_here() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "reference.md").read_text("utf-8").splitlines()
        if line.startswith("| ") and not line.startswith(("| feature", "| fault"))
    ]
    assert [row for row in rows if "tests/" not in row and "not here" not in row] == []
