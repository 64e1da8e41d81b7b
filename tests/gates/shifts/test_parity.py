"""With the same draws, every pixel is the generator's to within 1/255: all shifts, all tables.

``python -m benchmarks.shifts_parity`` writes down how far apart they are.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pytest
import torch

from gates.shifts import SHIFTS
from gates.shifts.draws import Draws
from gates.shifts.shift import on_unit
from gates.shifts.tables import SEVERITIES, TABLES, Parameters
from tests.gates.shifts.injected import Injected
from tests.gates.shifts.pictures import Pixels, noise, photographs
from tests.gates.shifts.reference import CORRECTIONS, DRAWS, ours, theirs

NO_REFERENCE: Final = {
    "clean": "the identity, in test_laws",
    "uniform_noise": "of Liebenwein et al. 2021, not of the generator; in test_formulas",
    "frost_synthetic": "this package's own; its laws are in test_frost",
}

# The images of ImageNet-C are larger; its parameters are those of the package at any size, and h
# and w that differ show where one is taken for the other.
SIZES: Final = {"cifar-10-c": (32, 32), "tiny-imagenet-c": (64, 64), "imagenet-c": (64, 80)}

CASES: Final = [(name, table, level) for name in DRAWS for table in TABLES for level in SEVERITIES]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small images on a busy machine are many times slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def largest_difference(name: str, image: Pixels, *, table: str, severity: int, seed: int) -> int:
    moved = ours(name, image, table=table, severity=severity, seed=seed)
    expected = theirs(name, image, table=table, severity=severity, seed=seed)
    assert moved.shape == expected.shape == image.shape
    return int(np.abs(moved.astype(int) - expected).max())


def images_for(table: str) -> list[Pixels]:
    height, width = SIZES[table]
    return [
        *photographs(2, height=height, width=width),
        noise(height=height, width=width),
    ]


@pytest.mark.parametrize(("name", "table", "severity"), CASES)
def test_pixels_are_the_generators(name: str, table: str, severity: int) -> None:
    for number, image in enumerate(images_for(table)):
        seed = 10 * severity + number
        assert largest_difference(name, image, table=table, severity=severity, seed=seed) <= 1


@pytest.mark.parametrize("name", DRAWS)
def test_pixels_are_the_generators_at_the_size_of_imagenet(name: str) -> None:
    (image,) = photographs(1, height=224, width=224)
    assert largest_difference(name, image, table="imagenet-c", severity=3, seed=0) <= 1


def test_every_shift_has_a_reference_or_a_reason_why_not() -> None:
    assert set(DRAWS).isdisjoint(NO_REFERENCE)
    assert {*DRAWS, *NO_REFERENCE} == set(SHIFTS)
    in_tables = {
        (name, table, severity)
        for table, rows in TABLES.items()
        for name in rows
        for severity, _ in enumerate(rows[name], start=1)
    }
    assert set(CASES) == {case for case in in_tables if case[0] not in NO_REFERENCE}


@pytest.mark.parametrize(
    ("name", "side", "severity"),
    [
        # Zoomed by 3, 64 pixels become 66; of 40 pixels, 16 remain, and every fifth is cut in two.
        ("snow", 64, 1),
        ("pixelate", 40, 3),
        ("frost", 64, 3),
        ("elastic_transform", 64, 3),
    ],
)
def test_the_reference_is_corrected_where_the_package_left_the_original(
    name: str, side: int, severity: int
) -> None:
    (image,) = photographs(1, height=side, width=side)
    seen = [
        theirs(name, image, table="imagenet-c", severity=severity, seed=0, corrected=corrected)
        for corrected in (True, False)
    ]
    moved = ours(name, image, table="imagenet-c", severity=severity, seed=0).astype(int)
    original, fork = (int(np.abs(moved - pixels).max()) for pixels in seen)
    assert original <= 1
    assert fork > 8


def test_each_correction_is_shown_to_be_one() -> None:
    assert set(CORRECTIONS) == {"snow", "pixelate", "frost", "elastic_transform"}


@pytest.mark.parametrize(("share_of_a_byte", "gained"), [(0.99, 0), (1.0, 1), (-0.01, -1)])
def test_bytes_are_cut_off_and_not_rounded(share_of_a_byte: float, gained: int) -> None:
    """The generator saves ``np.uint8(255 * x)``; whole values must survive the arithmetic."""
    before = torch.arange(1, 255, dtype=torch.uint8).reshape(1, 1, 1, -1)

    def brighter(images: torch.Tensor, *, parameters: Parameters, draws: Draws) -> torch.Tensor:
        return images + share_of_a_byte / 255.0

    after = on_unit(brighter)(before, parameters=(), draws=Injected())
    assert torch.equal(after, before + gained)
