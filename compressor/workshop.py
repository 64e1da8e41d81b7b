"""What a project's choices are called inside: images, method, files. For all jobs that prune."""

from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn

from compressor.config_schema import Input
from compressor.config_search import Search
from compressor.data import ImageSet
from compressor.pruning.candidate import Method
from compressor.pruning.layer_times import LatencyTable
from compressor.training.batches import LabelledImages
from exporters.onnx import serialise
from exporters.parity import check_parity


def labelled(images: ImageSet, source: Input) -> LabelledImages:
    """Images, and how the network wants them normalised."""
    return LabelledImages(
        images=images.images,
        labels=images.labels,
        ids=images.ids,
        mean=source.mean,
        std=source.std,
    )


def device() -> torch.device:
    """Where networks are trained and measured: the GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def method(search: Search, *, latencies: LatencyTable) -> Method:
    """What decides which channels go; ``latencies`` is for shares of latency."""
    return Method(
        importance=search.importance,
        allocation=search.allocation,
        align=search.align,
        compensate=search.compensate,
        of=search.of,
        steps=search.steps,
        regulariser=search.regulariser,
        exchanges=search.exchanges,
        latencies=latencies,
    )


def preprocessing(source: Input) -> Mapping[str, object]:
    """What goes before the network, as exported files say it."""
    return {
        "size": list(source.size),
        "mean": list(source.mean),
        "std": list(source.std),
        "scale": "pixel / 255",
        "layout": "nchw",
        **({} if source.resize is None else {"resize": list(source.resize)}),
    }


def to_onnx(
    model: nn.Module, images: Tensor, metadata: Mapping[str, object]
) -> tuple[bytes, Mapping[str, object]]:
    """The file of a network, and how near it comes to it on normalised ``images`` [n c h w].

    Raises:
        ExportError: there is no such file, or it computes something else.
    """
    content = serialise(model, images, metadata=metadata)
    return content, asdict(check_parity(model, content, images))
