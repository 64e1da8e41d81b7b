"""What is right about an image: one class, or a class for every pixel."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

NOT_LABELLED: Final = 255
"""What a mask holds where nobody says which class it is; the gate's word for it too."""

MOST_CLASSES: Final = NOT_LABELLED
"""That a mask can tell apart."""

Mask = NDArray[np.uint8]
"""Classes [h w], or NOT_LABELLED."""

Labels = NDArray[np.int64] | NDArray[np.uint8]
"""Classes [n], or masks [n h w]."""


def are_masks(labels: Labels) -> bool:
    """Whether there is a class for every pixel."""
    return labels.ndim == 3
