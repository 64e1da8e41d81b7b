"""What one cut came to, in words. Computes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor.tables import table
from compressor.wording import few


def as_text(record: Mapping[str, Any], folder: Path) -> str:
    """The first screen: that nothing was judged, what it weighs, what was done to it."""
    dense, ratio = record["dense"], record["ratio"]
    accuracy = record["tune_accuracy"]
    rows = [
        ["dense", f"{dense['params']:,}", f"{dense['macs'] / 1e6:.1f}", "-", "-"],
        [
            f"{ratio:.2f}",
            f"{record['params']:,} ({record['params'] / dense['params'] - 1:+.1%})",
            f"{record['macs'] / 1e6:.1f} ({record['macs'] / dense['macs'] - 1:+.1%})",
            f"{record['size_bytes'] / 1e6:.2f}",
            "-" if accuracy is None else f"{accuracy:.2%}",
        ],
    ]
    parts = [f"PRUNED at ratio {ratio:.2f}: {record['note']}", ""]
    parts += [*table(["ratio", "parameters", "MMACs", "file MB", "tune accuracy"], rows), ""]
    parts += [f"{_training(record)}."]
    parts += [f"Changed before the cut: {note}." for note in record["notes"]]
    parts += [
        f"Left alone: {few(item['modules'])}: {item['reason']}." for item in record["left_alone"]
    ]
    parts += ["", "Nothing was gated and nothing is released. To have it judged:"]
    parts += [f"  compress gate {folder / 'model.onnx'} --dense MODEL --policy POLICY"]
    return "\n".join(parts)


def _training(record: Mapping[str, Any]) -> str:
    images = record["train_images"]
    if record["retrained_epochs"]:
        return f"Retrained for {record['retrained_epochs']} epochs on {images:,} images"
    if images is None:
        return "Not retrained; BatchNorm statistics are those of the dense network"
    return f"Not retrained; BatchNorm statistics are those of up to {images:,} training images"
