"""What the rules of a policy are made of: fields that several kinds of rules share."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

CLEAN: Final = "clean"
"""Name of the shift that is none: the data as they are."""

Metric = Literal["top1", "top5", "brier", "flips"]

STATISTICS: Final[Mapping[Metric, str]] = MappingProxyType(
    {"top1": "drop", "top5": "top-5 drop", "brier": "Brier growth", "flips": "flip rate"}
)
"""What is held against the tolerance, in words; less is better, and 0 is a model that lost nothing.
"""


class Record(BaseModel):
    """Fields and nothing else: no unknown keys, no conversions, no changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _rises(severities: tuple[int, int]) -> tuple[int, int]:
    low, high = severities
    if low >= high:
        raise ValueError(
            f"a range of severities is [low, high] with low below high, not [{low}, {high}]; for a "
            "single severity give the number alone"
        )
    return severities


def _one_or_range(value: object) -> str:
    return "range" if isinstance(value, list | tuple) else "one"


_OneSeverity = Annotated[int, Field(ge=1, le=5)]

# A tag for each form, so that a wrong severity is told the rule of its own form only.
Severity = Annotated[
    Annotated[_OneSeverity, Tag("one")]
    | Annotated[tuple[_OneSeverity, _OneSeverity], AfterValidator(_rises), Tag("range")],
    Discriminator(_one_or_range),
]

ShiftName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

RuleId = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_.-]*$",
        description="What reports and files call the rule; no two rules of a policy share one.",
    ),
]

Draws = Annotated[
    int,
    Field(
        ge=1,
        description="How many independent draws each image is seen under. What is tested is the "
        "mean over them: the same drop, known better from as many images.",
    ),
]

SaveJpeg = Annotated[
    int | None,
    Field(
        ge=1,
        le=95,
        description="Pillow's quality, 1..95, of a JPEG that each image goes through at last, as "
        "the published ImageNet-C did at 85; left out, there is none.",
    ),
]

Accounted = Annotated[
    bool,
    Field(
        description="Whether retraining may use this distribution; if not, it is held out and "
        "tests what the model was not prepared for."
    ),
]

Tolerance = Annotated[
    float,
    Field(
        gt=0.0,
        lt=1.0,
        description="Largest accepted loss, absolute, in the unit of the metric. top1, top5: drop "
        "in accuracy, dense minus pruned; 0.02 is two percentage points. brier: growth of half the "
        "Brier score, which lies in 0..1. flips: share of images answered differently.",
    ),
]

JudgedMetric = Annotated[
    Metric,
    Field(
        description="What must not get worse. top1: accuracy of the first answer, of a "
        "segmentation the share of an image's labelled pixels that are right; top5: share of "
        "images whose class is among the five first answers; brier: half the Brier score of the "
        "probabilities, (1/2) sum over classes of (p_k - y_k)^2; flips: whether dense and pruned "
        "give the same first answer, right or wrong (only with one draw per image).",
    ),
]


def _each_class_once(classes: tuple[str, ...]) -> tuple[str, ...]:
    if doubled := sorted({name for name in classes if classes.count(name) > 1}):
        raise ValueError(f"{', '.join(doubled)} is there more than once; keep one")
    return classes


Only = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    AfterValidator(_each_class_once),
    Field(
        description="A class group: only images whose label is one of these classes count, by the "
        "names of the model's classes. Left out or empty, all images do. Such a rule has an id of "
        "its own, and needs labels.",
    ),
]

Reason = Annotated[
    str,
    Field(min_length=1, description="Why this tolerance; read by whoever reviews the policy."),
]

MinImages = Annotated[
    int | None,
    Field(
        ge=1,
        description="Images that this rule must be measured on, at least, those of the class group "
        "where it has one; left out, it is the policy's number.",
    ),
]

Enforced = Annotated[
    bool,
    Field(description="Whether a model must pass; if not, the result is only reported."),
]


class Component(NamedTuple):
    """One shift at one strength."""

    name: str
    severity: int | None = None
    """1 (mild) to 5 (severe); None for ``clean`` and where there is a level."""
    level: float | None = None
    """Strength of a shift that takes a number instead of a severity."""


def components_of(
    names: tuple[str, ...], severity: int | tuple[int, int] | None, *, level: float | None = None
) -> tuple[Component, ...]:
    """Each shift at each severity: all of the first shift, then all of the second."""
    severities: tuple[int | None, ...]
    match severity:
        case low, high:
            severities = tuple(range(low, high + 1))
        case _:
            severities = (severity,)
    return tuple(
        Component(name=name, severity=one, level=level) for name in names for one in severities
    )


def severity_text(severity: int | tuple[int, int]) -> str:
    """A severity as ids have it: ``3``, or ``1to3``."""
    match severity:
        case low, high:
            return f"{low}to{high}"
        case _:
            return str(severity)


def check_flips_are_of_one_draw(metric: Metric, *, draws: int) -> None:
    """What is judged by flips has one draw of each image.

    Raises:
        ValueError: it has several.
    """
    if metric == "flips" and draws > 1:
        raise ValueError(
            f"flips are counted on one draw of each image, not on {draws}; remove draws, or choose "
            "another metric"
        )
