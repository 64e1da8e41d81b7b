"""How often the gate may look at its images, and how many releases may share them.

A level is spent, not had: what a look or a release may use, the others may not.
"""

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from policies.fields import Record

Method = Annotated[
    Literal["fixed", "looks", "anytime"],
    Field(
        description="When the gate may decide. fixed: once, on all images, at the full alpha. "
        "looks: at each of the looks, on more images each time, and each at its share of alpha. "
        "anytime: after every batch, with tests that hold whenever one stops, and that need more "
        "images than the others where all are used.",
    ),
]

_Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Looks(Record):
    """When the gate looks at its images, and what each look may spend."""

    fractions: tuple[_Share, ...] = Field(
        default=(0.25, 0.5, 0.75, 1.0),
        min_length=1,
        description="Shares of the images that have been measured at each look, 0..1, ascending; "
        "the last is 1: all of them.",
    )
    spend: tuple[_Share, ...] = Field(
        default=(0.2, 0.2, 0.2, 0.4),
        min_length=1,
        description="Share of alpha that each look spends, 0..1; one for each of fractions, and "
        "together at most 1.",
    )

    @field_validator("fractions")
    @classmethod
    def _ascend_to_all(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(fractions)):
            raise ValueError(
                f"fractions ascend, since each look adds images: not {_listed(fractions)}"
            )
        if fractions[-1] != 1.0:
            raise ValueError(
                f"the last look is at all images, not at {fractions[-1]} of them; end with 1"
            )
        return fractions

    @field_validator("spend")
    @classmethod
    def _spends_no_more_than_there_is(cls, spend: tuple[float, ...]) -> tuple[float, ...]:
        # As written, in decimals: ten times 0.1 is 1.
        total = sum(Decimal(str(share)) for share in spend)
        if total > 1:
            raise ValueError(
                f"the looks spend {total} of alpha, and there is 1; make {_listed(spend)} smaller"
            )
        return spend

    @model_validator(mode="after")
    def _each_look_has_its_share(self) -> Self:
        if len(self.fractions) != len(self.spend):
            raise ValueError(
                f"{len(self.fractions)} looks (fractions {_listed(self.fractions)}) with "
                f"{len(self.spend)} shares of alpha (spend {_listed(self.spend)}); give each look "
                "one share"
            )
        return self


class Reuse(Record):
    """How many releases are judged on the same images."""

    releases: int = Field(
        ge=1,
        description="How many releases share the gate's images: each is judged at alpha divided by "
        "this number, so that alpha holds for all of them together, as long as none is made by "
        "what another scored there. Then there must be new images.",
    )


def _listed(shares: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{share:g}' for share in shares)}]"
