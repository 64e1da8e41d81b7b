"""Retraining sees the distributions that a policy accounts for, drawn with the gate's own code.

Its draws never meet the gate's: another seed, other images, and new draws in every epoch.
"""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressor.distributions import distribution_of
from compressor.files import digest
from compressor.training.augment import Augment
from gates.shifts import Distribution, sample
from policies import FolderRule, Policy


def accounted_shifts(policy: Policy, *, seed: int, share: float = 0.5) -> Augment | None:
    """An augmentation with the policy's accounted rules; None when it accounts for none.

    A ``share`` of the images get a draw from one accounted rule each, all rules equally likely, and
    the others stay as they are. What an image gets in an epoch hangs on its id and on nothing else
    in the batch.

    Of a rule that is a mixture or has several severities, all are equally likely. So a mixture of
    nine shifts at severities 1 to 5 and a share of 5/6 are the ``Mix`` of Liebenwein et al. 2021
    (arXiv:2103.03014), who draw one of nine shifts and a severity of 0 to 5, 0 being no shift.
    """
    distributions = [
        distribution_of(rule)
        for rule in policy.shifts
        if not isinstance(rule, FolderRule) and rule.accounted
    ]
    if not distributions or share == 0:
        return None
    return functools.partial(
        _shown, distributions=distributions, share=share, seed=seed, profile=policy.profile
    )


def _shown(
    images: NDArray[np.uint8],
    ids: NDArray[np.uint64],
    epoch: int,
    *,
    distributions: Sequence[Distribution],
    share: float,
    seed: int,
    profile: str,
) -> NDArray[np.uint8]:
    """Images [n c h w] as an epoch shows them; no closure, which no other process could be sent."""
    # One seed for the whole epoch: the shifts that draw from a bank draw it anew for each seed.
    drawn_seed = int(digest("retraining", str(seed), str(epoch))[:15], 16)
    # Below 0: as it is. Rounding may put the very largest number past the last rule.
    part = share / len(distributions)
    which = np.floor((_numbers(ids, seed=drawn_seed) - (1 - share)) / part)
    which = np.minimum(which, len(distributions) - 1)
    result = images.copy()
    for index, distribution in enumerate(distributions):
        chosen = np.flatnonzero(which == index)
        if len(chosen):
            # The first of the rule's draws alone: the next epoch is another.
            result[chosen] = sample(
                images[chosen],
                ids[chosen],
                distribution=distribution,
                seed=drawn_seed,
                profile=profile,
            )
    return result


def _numbers(ids: NDArray[np.uint64], *, seed: int) -> NDArray[np.float64]:
    """A number from [0, 1) for each image [n], by its id."""
    digests = (
        hashlib.blake2b(f"retraining/{seed}/{image}".encode(), digest_size=8).digest()
        for image in ids.tolist()
    )
    # 53 bits: as many as a float holds, so that none is rounded up to 1.
    numbers = (int.from_bytes(number, "little") >> 11 for number in digests)
    return np.fromiter(numbers, dtype=np.float64, count=len(ids)) / 2.0**53
