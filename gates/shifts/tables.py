"""How strong each severity is: the parameters of every shift, per image size, as data.

The numbers are those of the generators of Hendrycks & Dietterich 2019 (arXiv:1903.12261),
github.com/hendrycks/robustness: ``make_cifar_c.py``, ``make_tinyimagenet_c.py`` and
``make_imagenet_c.py``. A severity means nothing without its table: gaussian noise of
severity 3 has a standard deviation of .08 in CIFAR-10-C and of .18 in ImageNet-C.
"""

import difflib
from collections.abc import Mapping
from typing import Final

Parameters = tuple[float, ...]
"""What one shift needs at one severity; each shift's docstring names the entries."""

CLEAN: Final = "clean"
"""The images as they are: the one shift without a severity."""

AUTO: Final = "auto"
"""The profile that the size of the images chooses."""

SEVERITIES: Final = range(1, 6)


class ShiftError(ValueError):
    """The shift that was asked for does not exist, or not for these images."""


def _rows(*values: float) -> tuple[Parameters, ...]:
    """One row per severity for a shift with a single parameter."""
    return tuple((value,) for value in values)


# Liebenwein et al. 2021 (arXiv:2103.03014) add noise from [-eps, eps] to *normalised* images.
# These are its half-widths in pixel units, for eps = .1 .2 .3 .4 .5 and CIFAR-10's standard
# deviation of about .2 per channel. Hendrycks & Dietterich have no such shift, so every table
# holds the same row.
_UNIFORM_NOISE: Final = _rows(0.02, 0.04, 0.06, 0.08, 0.10)

TABLES: Final[Mapping[str, Mapping[str, tuple[Parameters, ...]]]] = {
    "cifar-10-c": {
        "gaussian_noise": _rows(0.04, 0.06, 0.08, 0.09, 0.10),
        "uniform_noise": _UNIFORM_NOISE,
        "impulse_noise": _rows(0.01, 0.02, 0.03, 0.05, 0.07),
        "speckle_noise": _rows(0.06, 0.10, 0.12, 0.16, 0.20),
        "gaussian_blur": _rows(0.4, 0.6, 0.7, 0.8, 1.0),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        "brightness": _rows(0.05, 0.10, 0.15, 0.20, 0.30),
        "contrast": _rows(0.75, 0.50, 0.40, 0.30, 0.15),
        "jpeg_compression": _rows(80, 65, 58, 50, 40),
    },
    "tiny-imagenet-c": {
        "gaussian_noise": _rows(0.04, 0.08, 0.12, 0.15, 0.18),
        "uniform_noise": _UNIFORM_NOISE,
        "impulse_noise": _rows(0.01, 0.02, 0.05, 0.08, 0.14),
        "speckle_noise": _rows(0.15, 0.20, 0.25, 0.30, 0.35),
        "gaussian_blur": _rows(0.50, 0.75, 1.00, 1.25, 1.50),
        "defocus_blur": ((0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)),
        "brightness": _rows(0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": _rows(0.40, 0.30, 0.20, 0.10, 0.05),
        "jpeg_compression": _rows(65, 58, 50, 40, 25),
    },
    "imagenet-c": {
        "gaussian_noise": _rows(0.08, 0.12, 0.18, 0.26, 0.38),
        "uniform_noise": _UNIFORM_NOISE,
        "impulse_noise": _rows(0.03, 0.06, 0.09, 0.17, 0.27),
        "speckle_noise": _rows(0.15, 0.20, 0.35, 0.45, 0.60),
        "gaussian_blur": _rows(1.0, 2.0, 3.0, 4.0, 6.0),
        "defocus_blur": ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
        "brightness": _rows(0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": _rows(0.40, 0.30, 0.20, 0.10, 0.05),
        "jpeg_compression": _rows(25, 18, 15, 10, 7),
    },
}

PROFILES: Final = (AUTO, *TABLES)


def profile_of(side: int) -> str:
    """The table that was made for images whose shorter side has ``side`` pixels."""
    if side <= 48:
        return "cifar-10-c"
    return "tiny-imagenet-c" if side <= 128 else "imagenet-c"


def parameters(name: str, *, severity: int | None, profile: str = AUTO, side: int) -> Parameters:
    """What shift ``name`` is run with on images whose shorter side has ``side`` pixels.

    Raises:
        ShiftError: Unknown shift or profile, or a severity that the shift does not have.
    """
    if profile not in PROFILES:
        raise ShiftError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    table = TABLES[profile_of(side) if profile == AUTO else profile]
    if name == CLEAN:
        if severity is not None:
            raise ShiftError(f"{CLEAN} has no severity, got {severity}; leave the severity out")
        return ()
    if name not in table:
        raise ShiftError(_unknown(name, (CLEAN, *table)))
    if severity is None or severity not in SEVERITIES:
        raise ShiftError(f"{name} has severities 1 to 5, got {severity}; choose one of these")
    return table[name][severity - SEVERITIES.start]


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no shift {name!r}; {hint}there are: {', '.join(known)}"
