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

LEVELLED: Final = "uniform_noise"
"""The one shift whose strength may be any number: it has no published severities."""

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

# The weights of image and ice, as in the rows of ``frost``, whose third number is the scale of the
# photographs of ice. Drawn ice needs none.
_ICE: Final = {
    "cifar-10-c": ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "tiny-imagenet-c": ((1.0, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    "imagenet-c": ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
}


def _frost(table: str, *, scale: float) -> tuple[Parameters, ...]:
    return tuple((*weights, scale) for weights in _ICE[table])


def _pixels(side: int, *rows: Parameters) -> tuple[Parameters, ...]:
    """Rows that the generator gives as shares of the image's side, in pixels."""
    return tuple(tuple(side * share for share in row) for row in rows)


TABLES: Final[Mapping[str, Mapping[str, tuple[Parameters, ...]]]] = {
    "cifar-10-c": {
        "gaussian_noise": _rows(0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": _rows(500, 250, 100, 75, 50),
        "impulse_noise": _rows(0.01, 0.02, 0.03, 0.05, 0.07),
        "speckle_noise": _rows(0.06, 0.10, 0.12, 0.16, 0.20),
        "uniform_noise": _UNIFORM_NOISE,
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
        "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "gaussian_blur": _rows(0.4, 0.6, 0.7, 0.8, 1.0),
        "snow": (
            (0.1, 0.2, 1.0, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": _frost("cifar-10-c", scale=0.2),
        "frost_synthetic": _ICE["cifar-10-c"],
        "fog": ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        "brightness": _rows(0.05, 0.10, 0.15, 0.20, 0.30),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1.0, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        "contrast": _rows(0.75, 0.50, 0.40, 0.30, 0.15),
        "elastic_transform": _pixels(
            32,
            (0.0, 0.0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        "pixelate": _rows(0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": _rows(80, 65, 58, 50, 40),
        "saturate": ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
    },
    "tiny-imagenet-c": {
        "gaussian_noise": _rows(0.04, 0.08, 0.12, 0.15, 0.18),
        "shot_noise": _rows(250, 100, 50, 30, 15),
        "impulse_noise": _rows(0.01, 0.02, 0.05, 0.08, 0.14),
        "speckle_noise": _rows(0.15, 0.20, 0.25, 0.30, 0.35),
        "uniform_noise": _UNIFORM_NOISE,
        "defocus_blur": ((0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)),
        "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "motion_blur": ((10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0)),
        "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "gaussian_blur": _rows(0.50, 0.75, 1.00, 1.25, 1.50),
        "snow": (
            (0.1, 0.2, 1.0, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1.0, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        "frost": _frost("tiny-imagenet-c", scale=0.3),
        "frost_synthetic": _ICE["tiny-imagenet-c"],
        "fog": ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)),
        "brightness": _rows(0.1, 0.2, 0.3, 0.4, 0.5),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1.0, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        "contrast": _rows(0.40, 0.30, 0.20, 0.10, 0.05),
        "elastic_transform": _pixels(
            64,
            (0.0, 0.0, 0.08),
            (0.05, 0.3, 0.06),
            (0.1, 0.08, 0.06),
            (0.1, 0.03, 0.03),
            (0.16, 0.03, 0.02),
        ),
        "pixelate": _rows(0.9, 0.8, 0.7, 0.6, 0.5),
        "jpeg_compression": _rows(65, 58, 50, 40, 25),
        "saturate": ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)),
    },
    "imagenet-c": {
        "gaussian_noise": _rows(0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": _rows(60, 25, 12, 5, 3),
        "impulse_noise": _rows(0.03, 0.06, 0.09, 0.17, 0.27),
        "speckle_noise": _rows(0.15, 0.20, 0.35, 0.45, 0.60),
        "uniform_noise": _UNIFORM_NOISE,
        "defocus_blur": ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
        "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "motion_blur": ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
        "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        "gaussian_blur": _rows(1.0, 2.0, 3.0, 4.0, 6.0),
        "snow": (
            (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        "frost": _frost("imagenet-c", scale=1.0),
        "frost_synthetic": _ICE["imagenet-c"],
        "fog": ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
        "brightness": _rows(0.1, 0.2, 0.3, 0.4, 0.5),
        "spatter": (
            (0.65, 0.3, 4.0, 0.69, 0.6, 0),
            (0.65, 0.3, 3.0, 0.68, 0.6, 0),
            (0.65, 0.3, 2.0, 0.68, 0.5, 0),
            (0.65, 0.3, 1.0, 0.65, 1.5, 1),
            (0.67, 0.4, 1.0, 0.65, 1.5, 1),
        ),
        "contrast": _rows(0.40, 0.30, 0.20, 0.10, 0.05),
        # 244 is the generator's own slip for 224; the published images were made with it.
        "elastic_transform": _pixels(
            244,
            (2.0, 0.7, 0.1),
            (2.0, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        ),
        "pixelate": _rows(0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg_compression": _rows(25, 18, 15, 10, 7),
        "saturate": ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    },
}

PROFILES: Final = (AUTO, *TABLES)


def profile_of(side: int) -> str:
    """The table that was made for images whose shorter side has ``side`` pixels."""
    if side <= 48:
        return "cifar-10-c"
    return "tiny-imagenet-c" if side <= 128 else "imagenet-c"


def parameters(
    name: str,
    *,
    severity: int | None,
    level: float | None = None,
    profile: str = AUTO,
    side: int,
) -> Parameters:
    """What shift ``name`` is run with on images whose shorter side has ``side`` pixels.

    ``level`` is for ``uniform_noise`` alone, in place of a severity.

    Raises:
        ShiftError: Unknown shift or profile, or a strength that the shift does not have.
    """
    if profile not in PROFILES:
        raise ShiftError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    table = TABLES[profile_of(side) if profile == AUTO else profile]
    if name == CLEAN:
        if severity is not None or level is not None:
            given = severity if level is None else level
            raise ShiftError(f"{CLEAN} has no severity, got {given}; leave it out")
        return ()
    if name not in table:
        raise ShiftError(_unknown(name, (CLEAN, *table)))
    if level is not None:
        return _levelled(name, severity=severity, level=level)
    if severity is None or severity not in SEVERITIES:
        raise ShiftError(f"{name} has severities 1 to 5, got {severity}; choose one of these")
    return table[name][severity - SEVERITIES.start]


def _levelled(name: str, *, severity: int | None, level: float) -> Parameters:
    if name != LEVELLED:
        raise ShiftError(f"only {LEVELLED} has a level, {name} has severities 1 to 5")
    if severity is not None:
        raise ShiftError(f"{name} has a severity or a level, not both: {severity} and {level}")
    if not 0.0 < level <= 1.0:
        raise ShiftError(f"the level of {name} is a half width in (0, 1], got {level}")
    return (level,)


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no shift {name!r}; {hint}there are: {', '.join(known)}"
