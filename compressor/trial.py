"""What the gate works with: images, a policy, a dense model, and a way to ask a file."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compressor.data import ImageSet, UnlabelledSet
from compressor.measurement import set_of
from compressor.runs import RunFolder
from exporters.runtime import Preprocessing, cpu_threads, predictor
from gates import look_sizes
from gates.measure import Predict
from policies import Policy, Rule

GATE_BATCH: Final = 256
"""Images per batch in the gate; part of the plan, since sums may differ in the last bit with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is the same for all candidates of a run."""

    run: RunFolder
    policy: Policy
    judged: Callable[[Rule], ImageSet | UnlabelledSet]
    """The images that a rule is judged on."""
    tune: ImageSet | None
    """Images that are not the gate's, to choose what to look at first; None if there are none."""
    classes: tuple[str, ...]
    dense: Path
    open: Callable[[Path], Predict]
    """The model in a file."""
    network: Callable[[Path], str]
    """Digest of what a file computes, whatever it says of itself besides."""
    seed: int
    cache: Path
    """Folder of the dense model's answers in earlier runs."""
    conditions: Mapping[str, object]
    """What answers depend on besides model and images: provider, threads, versions."""


def looks(
    policy: Policy, judged: Callable[[Rule], ImageSet | UnlabelledSet]
) -> dict[str, list[int]]:
    """Images at each look, of the gate's and of each folder of the policy's own."""
    sizes = {set_of(rule): len(judged(rule).ids) for rule in policy.shifts}
    return {name: list(look_sizes(policy, n, batch=GATE_BATCH)) for name, n in sizes.items()}


def opener(
    preprocessing: Callable[[Path], Preprocessing | None],
    *,
    size: tuple[int, int, int],
    provider: str,
) -> Callable[[Path], Predict]:
    """A function that opens the model in a file, once, with what goes before it.

    ``size`` is that of the images: channels, height, width.
    """

    @functools.cache
    def opened(path: Path) -> Predict:
        return predictor(
            path, preprocessing(path), size=size, provider=provider, threads=cpu_threads()
        )

    return opened
