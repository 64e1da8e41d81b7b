"""The files of one candidate: weights, what is kept, the network as ONNX. Whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import save
from torch import Tensor, nn

from compressor.files import sha256_of, write_atomically
from compressor.pruning.candidate import Candidate
from compressor.runs import RunError


class Serialise(Protocol):
    """A network and normalised images [n c h w] to the bytes of a file, checked against it."""

    def __call__(
        self, model: nn.Module, images: Tensor, metadata: Mapping[str, object]
    ) -> tuple[bytes, Mapping[str, object]]: ...


def keep(
    folder: Path,
    candidate: Candidate,
    model: nn.Module,
    *,
    serialise: Serialise,
    images: Tensor,
    metadata: Mapping[str, object],
    learnt: Mapping[str, object],
) -> None:
    """Write a candidate's files into ``folder``; the record of the others comes last.

    Args:
        folder: made if it is not there.
        candidate: how the network was cut.
        model: the candidate's network with its last weights.
        serialise: makes the ONNX file.
        images: normalised images [n c h w] on which the file is compared with the network.
        metadata: goes into the ONNX file.
        learnt: what is known of the network's training, for the record.

    Raises:
        ExportError: the network cannot be exported, or the file computes something else.
    """
    facts = {"ratio": candidate.ratio, "params": candidate.cost.params, "macs": candidate.cost.macs}
    content, parity = serialise(model, images, {**metadata, **facts})
    weights = {name: t.contiguous() for name, t in model.state_dict().items()}
    write_atomically(folder / "weights.safetensors", save(weights))
    write_atomically(folder / "model.onnx", content)
    record = {
        **facts,
        "kept": {name: list(units) for name, units in candidate.plan.kept.items()},
        "difference": candidate.difference,
        "parity": parity,
        **learnt,
        "sha256": sha256_of(folder / "model.onnx"),
        "weights_sha256": sha256_of(folder / "weights.safetensors"),
    }
    write_atomically(folder / "candidate.json", json.dumps(record, indent=2).encode())


def kept(folder: Path) -> dict[str, Any]:
    """What ``keep`` recorded in ``folder``.

    Raises:
        RunError: a file is not the one that was written.
    """
    record: dict[str, Any] = json.loads((folder / "candidate.json").read_text(encoding="utf-8"))
    for name, key in (("model.onnx", "sha256"), ("weights.safetensors", "weights_sha256")):
        if not (folder / name).exists() or sha256_of(folder / name) != record[key]:
            raise RunError(
                f"{folder / name} is not the file that the run wrote; delete {folder} to make "
                "this candidate again"
            )
    return record
