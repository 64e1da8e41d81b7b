"""The distributions that a policy names: shifts, mixtures of shifts, and the user's own folders.

A rule is known by the key that it has: ``name`` is one shift, ``mixture`` several shifts,
``folder`` images of the user's own. Whether a shift of some name exists is not known here, nor
whether a class does.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from policies.fields import (
    CLEAN,
    STATISTICS,
    Accounted,
    Component,
    Draws,
    Enforced,
    JudgedMetric,
    MinImages,
    Only,
    Reason,
    Record,
    RuleId,
    SaveJpeg,
    Severity,
    ShiftName,
    Tolerance,
    check_flips_are_of_one_draw,
    components_of,
    severity_text,
)


class ShiftRule(Record):
    """One shift that the pruned model must survive, and how well."""

    name: ShiftName = Field(
        description='Name of the shift, for example "gaussian_noise"; "clean" is the data as is.'
    )
    severity: Severity | None = Field(
        default=None,
        description="Strength of the shift, 1 (mild) to 5 (severe); or [low, high], one "
        "distribution in which each image gets one of these severities, all equally likely. None "
        'for "clean", and where there is a level.',
    )
    level: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Only for uniform_noise, in place of a severity: half the width of the noise, "
        "as a share of the range of a pixel.",
    )
    draws: Draws = 1
    save_jpeg: SaveJpeg = None
    metric: JudgedMetric = "top1"
    only: Only = ()
    min_images: MinImages = None
    tolerance: Tolerance
    reason: Reason
    enforced: Enforced = True
    accounted: Accounted = False
    own_id: RuleId | None = Field(
        default=None,
        alias="id",
        description="What reports and files call the rule; left out, it is made of the rest, as in "
        '"fog-3", "fog-1to3", "uniform_noise-level0.07", "fog-3x2" (two draws), "fog-3-jpeg85", '
        '"fog-3-brier".',
    )

    @model_validator(mode="after")
    def _strength_goes_with_a_shift(self) -> Self:
        if self.name == CLEAN:
            self._check_clean()
        elif self.severity is None and self.level is None:
            raise ValueError(
                f"{self.name!r} needs a severity, 1 (mild) to 5 (severe), or a range of them"
            )
        elif self.severity is not None and self.level is not None:
            raise ValueError(f"{self.name!r} has a severity and a level; keep one")
        return self

    def _check_clean(self) -> None:
        for what, given in (("severity", self.severity), ("level", self.level)):
            if given is not None:
                raise ValueError(f'"{CLEAN}" has no {what}; remove it')
        if self.draws > 1:
            raise ValueError(f'"{CLEAN}" has nothing to draw; remove draws')

    @model_validator(mode="after")
    def _metric_and_group_fit(self) -> Self:
        check_flips_are_of_one_draw(self.metric, draws=self.draws)
        if self.only and self.own_id in {None, self.derived_id}:
            raise ValueError(
                f"a class group (only) needs an id of its own, because {self.derived_id} is that "
                f'of all images; add for example "id: {self.derived_id}-group"'
            )
        return self

    @property
    def statistic(self) -> str:
        """What is held against the tolerance, in words."""
        return STATISTICS[self.metric]

    @property
    def id(self) -> str:
        """The rule's own, or name and strength, for example ``fog-3``; or ``clean``."""
        return self.own_id or self.derived_id

    @property
    def derived_id(self) -> str:
        """What the rule is called if it has no id of its own."""
        metric = "" if self.metric == "top1" else f"-{self.metric}"
        return f"{self.name}{self._strength()}{metric}"

    @property
    def components(self) -> tuple[Component, ...]:
        """The shift at each of its severities."""
        return components_of((self.name,), self.severity, level=self.level)

    def _strength(self) -> str:
        level = "" if self.level is None else f"-level{self.level}"
        draws = "" if self.draws == 1 else f"x{self.draws}"
        jpeg = "" if self.save_jpeg is None else f"-jpeg{self.save_jpeg}"
        severity = "" if self.severity is None else f"-{severity_text(self.severity)}"
        return f"{severity}{level}{draws}{jpeg}"


class MixtureRule(Record):
    """Several shifts as one distribution, in which each image gets one of them."""

    id: RuleId
    mixture: tuple[ShiftName, ...] = Field(
        min_length=2,
        description="Names of the shifts. Each image gets one shift at one severity, all pairs of "
        "them equally likely.",
    )
    severity: Severity = Field(
        description="Strength of all the shifts, 1 (mild) to 5 (severe); or [low, high], each "
        "image getting one of these severities."
    )
    draws: Draws = 1
    save_jpeg: SaveJpeg = None
    metric: JudgedMetric = "top1"
    only: Only = ()
    min_images: MinImages = None
    tolerance: Tolerance
    reason: Reason
    enforced: Enforced = True
    accounted: Accounted = False

    @field_validator("mixture")
    @classmethod
    def _are_different_shifts(cls, mixture: tuple[str, ...]) -> tuple[str, ...]:
        if doubled := sorted({name for name in mixture if mixture.count(name) > 1}):
            raise ValueError(f"{', '.join(doubled)} is there more than once; keep one")
        if CLEAN in mixture:
            raise ValueError(f'"{CLEAN}" is no shift to mix; give it a rule of its own')
        return mixture

    @model_validator(mode="after")
    def _metric_fits(self) -> Self:
        check_flips_are_of_one_draw(self.metric, draws=self.draws)
        return self

    @property
    def statistic(self) -> str:
        """What is held against the tolerance, in words."""
        return STATISTICS[self.metric]

    @property
    def components(self) -> tuple[Component, ...]:
        """Each shift at each severity: all of the first shift, then all of the second."""
        return components_of(self.mixture, self.severity)


class FolderRule(Record):
    """Images of the user's own, with the right answers or without."""

    id: RuleId
    folder: str = Field(
        min_length=1,
        description="Path of the images, relative to the folder of compress.yaml.",
    )
    labels: Literal["folders", "none"] = Field(
        default="folders",
        description="Where the right answers are: one folder a class; or none, and what is judged "
        "is the flip rate.",
    )
    classes: str | None = Field(
        default=None,
        min_length=1,
        description="Path of a YAML file that maps the folder's class names to the model's, one to "
        "one; a class that is mapped to null is left out. Relative as folder is. Only with labels: "
        "folders.",
    )
    metric: JudgedMetric = Field(
        default="top1",
        description="What must not get worse, as for shifts; left out, top1. With labels: none it "
        "is flips and nothing else: the share of images on which dense and pruned answer "
        "differently, which no drop exceeds.",
    )
    only: Only = ()
    min_images: MinImages = None
    tolerance: Tolerance
    reason: Reason
    enforced: Enforced = True

    @model_validator(mode="after")
    def _labels_are_there_where_needed(self) -> Self:
        if self.labels == "folders":
            return self
        if self.classes is not None:
            raise ValueError("without labels no classes are mapped; remove classes")
        if self.metric != "flips" and "metric" in self.model_fields_set:
            raise ValueError(
                f"without labels no answer is right, so that only flips can be counted, not "
                f"{self.metric}; remove metric"
            )
        if self.only:
            raise ValueError(
                f"without labels it is not known which images are of {', '.join(self.only)}; "
                "remove only"
            )
        # Left out, it is flips: said, so that the rule reads the same when it is written out.
        object.__setattr__(self, "metric", "flips")
        return self

    @property
    def statistic(self) -> str:
        """What is held against the tolerance, in words."""
        return STATISTICS[self.metric]


# The key that tells each kind, and the tag of the kind. A tag is no key of the file, so that the
# key paths in error messages can leave it out.
KINDS: Final = {"name": "ShiftRule", "mixture": "MixtureRule", "folder": "FolderRule"}


def kind_of(value: object) -> str | None:
    """The tag of a rule's kind, or that no rule has."""
    if not isinstance(value, Mapping):
        return type(value).__name__
    kinds = [kind for key, kind in KINDS.items() if key in value]
    return kinds[0] if len(kinds) == 1 else None


Rule = ShiftRule | MixtureRule | FolderRule

TaggedRule = Annotated[
    Annotated[ShiftRule, Tag("ShiftRule")]
    | Annotated[MixtureRule, Tag("MixtureRule")]
    | Annotated[FolderRule, Tag("FolderRule")],
    Discriminator(
        kind_of,
        custom_error_type="rule",
        custom_error_message="a rule has exactly one of name (one shift), mixture (several shifts) "
        "and folder (images of your own)",
    ),
]
"""A rule as it is read: the key that is there tells which."""
