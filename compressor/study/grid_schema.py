"""What study.yaml may say: every field with its meaning, its unit and its default."""

from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from compressor.config_fields import Real, Record, Share
from compressor.config_schema import Retrain

Part = Literal["potential", "excess", "similarity", "features", "losses"]


def _times(value: object) -> object:
    """``4x`` is a network four times smaller: a share of 0.75."""
    if not isinstance(value, str) or not value.endswith("x"):
        return value
    try:
        factor = float(value[:-1])
    except ValueError:
        raise ValueError(f"{value!r} is no compression; write 4x, or the share 0.75") from None
    if not factor > 1.0:
        raise ValueError(f"{value!r} makes nothing smaller; a compression is above 1x")
    return 1.0 - 1.0 / factor


Removed = Annotated[Share, BeforeValidator(_times), Field(gt=0, lt=1)]
"""A share of the parameters that is to go: 0.75, 75% or 4x."""

Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


class Structured(Record):
    """Whole channels go, and the network gets smaller."""

    importance: str = Field(description="a name that search.importance knows")
    allocation: str = Field(default="global", description="a name that search.allocation knows")
    align: int = Field(default=1, ge=1, description="channels stay a multiple of this")
    steps: int = Field(default=1, ge=1, description="equal steps of each cut")
    regulariser: Real = Field(default=0.0, ge=0, description="lambda, where the loss is modelled")
    exchanges: int = Field(
        default=0, ge=0, description="whole networks that are measured to correct the widths"
    )
    compensate: bool = Field(
        default=True, description="what channels gave on average goes into the next bias"
    )


class Masks(Record):
    """Single weights are set to zero; the network stays as large as it was."""

    mask: str = Field(description="magnitude, gradient, sipp or random")
    ranking: Literal["global", "layer"] = Field(default="global", description="who competes")
    steps: int = Field(default=1, ge=1, description="equal steps of each cut")


def _method_kind(value: object) -> str | None:
    if not isinstance(value, dict):
        return type(value).__name__
    kinds = [kind for key, kind in _METHOD_KINDS.items() if key in value]
    return kinds[0] if len(kinds) == 1 else None


_METHOD_KINDS: Final = {"importance": "Structured", "mask": "Masks"}

Method = Annotated[
    Annotated[Structured, Tag("Structured")] | Annotated[Masks, Tag("Masks")],
    Discriminator(
        _method_kind,
        custom_error_type="method",
        custom_error_message="a method has exactly one of importance and mask",
    ),
]

MethodName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]


class Images(Record):
    """What the networks are asked about."""

    of: Literal["gate", "tune"] = Field(
        description="gate: data.gate, images that no network was trained on, but that then certify "
        "no choice made by this study; tune: the part of data.train that is held back"
    )
    count: int = Field(default=2000, ge=2, description="images, drawn by the seed; fewer if fewer")


class Shifts(Record):
    """The distributions: those that retraining sees, and those that it does not."""

    train: tuple[str, ...] = Field(
        default=("clean",),
        min_length=1,
        description="clean, or name-severity as fog-3. Where there are others than clean, "
        "retraining shows them to the share retrain.robust of its images",
    )
    held_out: tuple[str, ...] = Field(
        default=("benchmark-3",),
        description="name-severity; benchmark-3 is each of the 15 published shifts, all-3 of the "
        "19, a half width as uniform_noise-0.05 noise of that size",
    )


class Noise(Record):
    """The ladder of noise for functional similarity."""

    levels: tuple[Annotated[Real, Field(ge=0)], ...] = Field(
        default=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        min_length=1,
        description="half widths, rising, of uniform noise on the normalised images",
    )
    images: int = Field(default=1000, ge=1, description="the first of those asked about")
    draws: int = Field(default=1, ge=1, description="noises for each image and level")

    @model_validator(mode="after")
    def _rise(self) -> "Noise":
        if any(low >= high for low, high in pairwise(self.levels)):
            raise ValueError(f"levels must rise strictly, not {list(self.levels)}")
        return self


class Control(Record):
    """A network of the dense one's architecture, trained from nothing."""

    epochs: int = Field(default=10, ge=1, description="passes over the training images")
    lr: Real = Field(default=0.1, gt=0, description="learning rate at its peak")
    scratch: tuple[Removed, ...] = Field(
        default=(),
        description="ratios at which the first structured method's smaller network is trained from "
        "nothing as well, for the same epochs",
    )


class Features(Record):
    """The pixels that a network's answer rests on."""

    method: MethodName = Field(description="whose networks are looked into, beside the dense one")
    ratios: tuple[Removed, ...] = Field(min_length=1, description="of ratios, those looked at")
    images: int = Field(default=250, ge=1, description="the first of those asked about")
    share: Real = Field(default=0.1, gt=0, lt=1, description="of the pixels, that are kept")
    step: Real = Field(
        default=0.1,
        gt=0,
        le=1,
        description="share of the pixels still there that is taken away between two gradients",
    )


class Losses(Record):
    """Single weights by models of the loss, and what that tells of the retrained network."""

    criteria: tuple[Literal["MP", "LM", "QM", "OBD"], ...] = Field(
        default=("MP", "LM", "QM", "OBD"), min_length=1
    )
    steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 14, 140), min_length=1)
    lambdas: tuple[Annotated[Real, Field(ge=0)], ...] = Field(default=(0.0,), min_length=1)
    ratios: tuple[Removed, ...] = Field(default=(0.9,), min_length=1)
    images: int = Field(default=1000, ge=2, description="training images for loss and its models")


class Grid(Record):
    """The contents of study.yaml."""

    apiVersion: Literal["compress-study/v1"]  # noqa: N815 # as in policies
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    model: str = Field(
        description="the dense network's file, relative to study.yaml; {seed} stands for the seed, "
        "where there is a network for each"
    )
    project: str | None = Field(
        default=None, description="compress.yaml, relative to study.yaml; else the nearest"
    )
    protocol: Literal["one_shot", "iterative"] = Field(
        default="one_shot",
        description="each ratio from the dense network, or from the network of the ratio before",
    )
    methods: dict[MethodName, Method] = Field(min_length=1)
    ratios: tuple[Removed, ...] = Field(min_length=1, description="rising; 0.75, 75% or 4x")
    seeds: Seeds = (0,)
    images: Images
    shifts: Shifts = Shifts()
    noise: Noise = Noise()
    tolerances: tuple[Annotated[Real, Field(ge=0, lt=1)], ...] = Field(
        default=(0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05), min_length=1
    )
    alpha: Real = Field(default=0.05, gt=0, lt=0.5, description="of certified potentials")
    retrain: Retrain | None = Field(default=None, description="in place of compress.yaml's")
    base_epochs: int | None = Field(
        default=None, ge=0, description="the dense network was trained for, where that is known"
    )
    base: Control = Field(default=Control(), description="the control network")
    parts: tuple[Part, ...] = Field(default=("potential", "excess"))
    features: Features | None = None
    losses: Losses = Losses()
    threads: int = Field(
        default=1, ge=1, description="of each trial, whatever the engine: sums depend on it"
    )

    @model_validator(mode="after")
    def _rise(self) -> "Grid":
        if any(low >= high for low, high in pairwise(self.ratios)):
            raise ValueError(f"ratios must rise strictly, not {list(self.ratios)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds has one twice: {list(self.seeds)}; keep one")
        return self
