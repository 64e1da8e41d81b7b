"""What a record says of its sequences of candidates, and of how fast they must be."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from compressor.config_search import LatencyTarget
from gates import Outcome, Speed, Step, Verdict, describe_speed, judge_speed, speed_of
from policies import Policy


def joint_end(ends: Mapping[str | None, str | None]) -> str | None:
    """Why no later candidate was tried, of all sequences; None where the gate said no in each."""
    if len(set(ends.values())) == 1:
        return next(iter(ends.values()))
    told = [f"{chain}: {end}" for chain, end in ends.items() if end is not None]
    return "; ".join(told) or None


def speed_fields(policy: Policy, verdict: Verdict, speeds: Sequence[Speed]) -> dict[str, Any]:
    """What a report says of the speed-up that the policy asks for."""
    rule = policy.min_speedup
    if rule is None:
        return {"min_speedup": None}
    last = {step.chain: step for step in _accepted_prefixes(verdict.steps)}
    found = [
        (speed, step)
        for step in last.values()
        if (speed := speed_of(speeds, step.candidate, batch=rule.batch)) is not None
    ]
    if not found:
        fields = ("position", "measured", "interval", "noise", "outcome", "sentence")
        return {"min_speedup": {**rule.model_dump(mode="json"), **dict.fromkeys(fields)}}
    speed, step = max(found, key=lambda pair: pair[0].times)
    told = {
        **rule.model_dump(mode="json"),
        "position": step.position,
        "measured": speed.times,
        "interval": speed.interval,
        "noise": speed.noise,
        "outcome": judge_speed(rule, speed).value,
        "sentence": describe_speed(rule, speed, name=step.name),
    }
    return {"min_speedup": told}


def target_fields(
    target: LatencyTarget | None, latency: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What a report says of the latency that was asked for; ``latency`` is what it shows."""
    if target is None:
        return {"latency_target": None}
    found = next((item for item in latency if item["batch"] == target.batch), None)
    ms = None if found is None else found["pruned"]["median_ms"]
    told = {"ms": target.ms, "batch": target.batch, "median_ms": ms}
    return {"latency_target": {**told, "met": None if ms is None else ms <= target.ms}}


def chain_fields(
    policy: Policy,
    verdict: Verdict,
    precisions: Mapping[str | None, str],
    ends: Mapping[str | None, str | None],
    *,
    speeds: Sequence[Speed],
    batch: int,
) -> dict[str, Any]:
    """What a report says of its sequences, whose precisions are given in their order."""
    last = {step.chain: step for step in _accepted_prefixes(verdict.steps)}
    found = {name: speed_of(speeds, step.candidate, batch=batch) for name, step in last.items()}
    share = policy.shared_among(len(precisions)).alpha_per_release
    return {
        "chains": [
            {
                "name": name,
                "precision": precision,
                "alpha": share,
                "ladder_end": ends[name],
                "accepted_position": last[name].position if name in last else None,
                "speedup": None if (speed := found.get(name)) is None else speed.times,
            }
            for name, precision in precisions.items()
        ],
        "ladder_end": joint_end(ends),
    }


def _accepted_prefixes(steps: Sequence[Step]) -> list[Step]:
    """Of each sequence, the steps before the first that is not accepted."""
    return [
        step
        for chain in dict.fromkeys(step.chain for step in steps)
        for step in takewhile(
            lambda step: step.outcome is Outcome.ACCEPTED,
            (step for step in steps if step.chain == chain),
        )
    ]
