"""Retraining sees the shifts that a policy accounts for, drawn from the gate's own code.

Its draws never meet the gate's: another seed, other images, and a new draw in every epoch.
"""

import numpy as np
from numpy.typing import NDArray

from compressor.files import digest
from compressor.training.retrain import Augment
from gates.shifts import shifted
from policies import Policy

CLEAN_SHARE = 0.5
"""Share of the training images that keep their own distribution."""


def accounted_shifts(policy: Policy, *, seed: int) -> Augment | None:
    """An augmentation with the policy's accounted shifts; None when it accounts for none.

    Half of the images stay as they are, the others get one accounted shift each, at the policy's
    severity. The same batch in the same epoch gets the same draws.
    """
    rules = [rule for rule in policy.shifts if rule.accounted]
    if not rules:
        return None

    def augment(
        images: NDArray[np.uint8], ids: NDArray[np.uint64], epoch: int
    ) -> NDArray[np.uint8]:
        drawn_seed = int(digest("retraining", str(seed), str(epoch))[:15], 16)
        rng = np.random.default_rng([drawn_seed, int(ids[0] % 2**63), len(ids)])
        choice = rng.random(len(ids))
        result = images.copy()
        for index, rule in enumerate(rules):
            share = (1.0 - CLEAN_SHARE) / len(rules)
            low = CLEAN_SHARE + index * share
            chosen = np.flatnonzero((choice >= low) & (choice < low + share))
            if len(chosen):
                result[chosen] = shifted(
                    images[chosen],
                    ids[chosen],
                    name=rule.name,
                    severity=rule.severity,
                    seed=drawn_seed,
                    profile=policy.profile,
                )
        return result

    return augment
