"""A run that is only timed needs images of the right shape and type, and no more."""

from dataclasses import dataclass

import numpy as np
import pytest

from exporters.feeds import random_input
from exporters.network_file import SignatureError


@dataclass(frozen=True)
class Source:
    type: str
    shape: tuple[int | str, ...]
    name: str = "images"


@pytest.mark.parametrize(
    "kind, dtype",
    [("uint8", np.uint8), ("float16", np.float16), ("float", np.float32)],
)
@pytest.mark.parametrize("shape", [("batch", 3, 8, 6), ("n", 8, 6, 3), (2, 3, 8, 6)])
def test_every_type_and_layout_is_fed(
    kind: str, dtype: type[np.generic], shape: tuple[int | str, ...]
) -> None:
    source = Source(type=f"tensor({kind})", shape=shape)
    images = random_input(source, batch=2, generator=1)
    assert (images.shape, images.dtype) == ((2, *shape[1:]), np.dtype(dtype))
    assert images.std() > 0
    np.testing.assert_array_equal(images, random_input(source, batch=2, generator=1))


@pytest.mark.parametrize(
    "kind, shape, told",
    [
        ("float", (1, 3, 8, 8), "takes batches of 1 only, not 4"),
        ("float", ("n", 3, "h", "w"), "does not fix its image size"),
        ("int64", ("n", 3, 8, 8), r"is tensor\(int64\); images are"),
    ],
)
def test_what_cannot_be_fed_is_refused(kind: str, shape: tuple[int | str, ...], told: str) -> None:
    with pytest.raises(SignatureError, match=told):
        random_input(Source(type=f"tensor({kind})", shape=shape), batch=4, generator=0)
