"""The distributions that a pruned model may have to survive, made from the images at hand.

``shifted(images, ids, name="gaussian_noise", severity=3, seed=0)`` is all that most callers need;
``sample`` draws from mixtures. The same image, id, shift, severity, seed and draw give the same
bytes, whatever the batch size, the order or the number of threads. Names and strengths are those of
ImageNet-C and CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261); with the same draws the
pixels equal those of its generator to within 1/255. The published ImageNet-C files went through
JPEG once more; these do so on request. ``uniform_noise`` is from Liebenwein et al. 2021
(arXiv:2103.03014).

A new shift is a function, a line in ``SHIFTS`` and a row in each of ``tables.TABLES``.
"""

from gates.shifts.distribution import Component, Distribution, definition, sample
from gates.shifts.shift import Shift
from gates.shifts.suite import SHIFTS, SMALLEST_SIDE, available, shifted
from gates.shifts.tables import PROFILES, ShiftError, parameters, profile_of

__all__ = [
    "PROFILES",
    "SHIFTS",
    "SMALLEST_SIDE",
    "Component",
    "Distribution",
    "Shift",
    "ShiftError",
    "available",
    "definition",
    "parameters",
    "profile_of",
    "sample",
    "shifted",
]
