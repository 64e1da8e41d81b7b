"""How much faster a model must be to be worth what it may lose."""

from pydantic import Field

from policies.fields import Record


class MinSpeedup(Record):
    """The least measured speed-up of a released model against the dense one."""

    times: float = Field(
        gt=0.0,
        description="dense time divided by pruned time, as 1.3; the lower end of the measured "
        "interval must not be below it",
    )
    batch: int = Field(default=1, ge=1, description="Images per call for which it is measured.")
