"""What ONNX Runtime writes of a session's runs: which node took how long."""

import json
from pathlib import Path
from typing import Any, Final

_CONVOLUTIONS: Final = frozenset({"Conv", "FusedConv"})


def second_convolution_us(profile: Path) -> list[float]:
    """Per run, microseconds from the end of the first convolution to that of the second.

    Changes of layout between the two are in it, what comes before and behind them is not.

    Args:
        profile: what ``end_profiling()`` named, of a network with two convolutions, one behind the
            other.

    Raises:
        ValueError: some run had not two convolutions.
    """
    events: list[dict[str, Any]] = json.loads(profile.read_text(encoding="utf-8"))
    ends = [
        event["ts"] + event["dur"]
        for event in sorted(events, key=lambda event: event["ts"])
        if event["cat"] == "Node" and event["args"].get("op_name") in _CONVOLUTIONS
    ]
    runs = sum(event["name"] == "model_run" for event in events)
    if len(ends) != 2 * runs:
        raise ValueError(
            f"{profile} has {len(ends)} runs of convolutions in {runs} of the network; "
            "a profile of two convolutions has two in each"
        )
    return [float(end - start) for start, end in zip(ends[::2], ends[1::2], strict=True)]
