"""Retraining sees the distributions that a policy accounts for, drawn with the gate's own code.

Its draws never meet the gate's: another seed, other images, and new draws in every epoch.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from compressor.distributions import distribution_of
from compressor.files import digest
from compressor.training.retrain import Augment
from gates.shifts import sample
from policies import FolderRule, Policy

CLEAN_SHARE = 0.5
"""Share of the training images that keep their own distribution."""


def accounted_shifts(policy: Policy, *, seed: int) -> Augment | None:
    """An augmentation with the policy's accounted rules; None when it accounts for none.

    Half of the images stay as they are, the others get a draw from one accounted rule each, all
    rules equally likely. What an image gets in an epoch hangs on its id and on nothing else in the
    batch.
    """
    distributions = [
        distribution_of(rule)
        for rule in policy.shifts
        if not isinstance(rule, FolderRule) and rule.accounted
    ]
    if not distributions:
        return None

    def augment(
        images: NDArray[np.uint8], ids: NDArray[np.uint64], epoch: int
    ) -> NDArray[np.uint8]:
        # One seed for the whole epoch: the shifts that draw from a bank draw it anew for each seed.
        drawn_seed = int(digest("retraining", str(seed), str(epoch))[:15], 16)
        numbers = _numbers(ids, seed=drawn_seed)
        result = images.copy()
        for index, distribution in enumerate(distributions):
            share = (1.0 - CLEAN_SHARE) / len(distributions)
            low = CLEAN_SHARE + index * share
            chosen = np.flatnonzero((numbers >= low) & (numbers < low + share))
            if len(chosen):
                # The first of the rule's draws alone: the next epoch is another.
                result[chosen] = sample(
                    images[chosen],
                    ids[chosen],
                    distribution=distribution,
                    seed=drawn_seed,
                    profile=policy.profile,
                )
        return result

    return augment


def _numbers(ids: NDArray[np.uint64], *, seed: int) -> NDArray[np.float64]:
    """A number from [0, 1) for each image [n], by its id."""
    digests = (
        hashlib.blake2b(f"retraining/{seed}/{image}".encode(), digest_size=8).digest()
        for image in ids.tolist()
    )
    # 53 bits: as many as a float holds, so that none is rounded up to 1.
    numbers = (int.from_bytes(number, "little") >> 11 for number in digests)
    return np.fromiter(numbers, dtype=np.float64, count=len(ids)) / 2.0**53
