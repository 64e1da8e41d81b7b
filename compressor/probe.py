"""Whether a candidate can be judged at all: it answers like itself, and speaks of the same classes.

Asked of a few images before the gate's are counted; it can only stop a run, never pass a model.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from compressor.brought import Brought
from compressor.config import ConfigError
from compressor.gate_data import GateData
from exporters.repeat import check_repeatable
from exporters.runtime import cpu_threads, predictor
from gates.looks import reading_order
from gates.measure import MeasureError, Predict, images_at_once

PROBES: Final = 256

# Classes count as renamed if, under other names, the models agree on most images, and under the
# same names they do not. A bad model agrees under no names.
_AGREEMENT: Final = 0.5


def check_answers(
    name: str, predict: Predict, images: NDArray[np.uint8], classes: int, *, per_pixel: bool = False
) -> NDArray[np.int64]:
    """Whether a model answers images [n c h w] with finite logits of ``classes``, twice the same.

    Returns the predicted classes [n], or [n h w] where there is an answer ``per_pixel``.

    Raises:
        ConfigError: another number of classes, or answers to images in place of pixels.
        MeasureError: logits that are not finite.
        NotRepeatableError: two runs of one batch differ.
    """
    logits = predict(images)
    wanted = (len(images), classes, *(images.shape[2:] if per_pixel else ()))
    if logits.shape != wanted:
        form = f" and masks, which want {list(wanted)}" if per_pixel else ""
        raise ConfigError(
            f"{name} answers with logits of shape {list(logits.shape)}, and data.gate has "
            f"{classes} classes{form}; give the images that the models were trained for"
        )
    if not np.isfinite(logits).all():
        raise MeasureError(
            f"{name} answers with logits that are not finite; check its weights and precision "
            "before judging it"
        )
    check_repeatable(predict, images)
    predicted: NDArray[np.int64] = logits.argmax(axis=1)
    return predicted


def check_same_order(
    name: str, dense: NDArray[np.int64], candidate: NDArray[np.int64], classes: Sequence[str]
) -> None:
    """Whether two models' predicted classes [n] or [n h w] go by the same names.

    Raises:
        ConfigError: they agree on most images, if classes are renamed.
    """
    together = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(together, (dense, candidate), 1)
    rows, columns = linear_sum_assignment(together, maximize=True)
    renamed, same = together[rows, columns].sum() / dense.size, np.trace(together) / dense.size
    if same >= _AGREEMENT or renamed < _AGREEMENT:
        return
    answers = "images" if dense.ndim == 1 else "pixels"
    seen = [
        f"{classes[a]} as {classes[b]}"
        for a, b in zip(rows.tolist(), columns.tolist(), strict=True)
        if a != b and together[a, b]
    ]
    raise ConfigError(
        f"{name} seems to have its classes in another order than the dense model: it agrees on "
        f"{same:.0%} of {dense.size} {answers}, and on {renamed:.0%} if one reads "
        f"{', '.join(seen[:4])}; export both with the same list of classes"
    )


def check_models(
    models: Sequence[Brought],
    data: GateData,
    *,
    size: tuple[int, int, int],
    provider: str,
    seed: int,
) -> None:
    """Whether all the models, of which the dense one comes first, can be judged.

    They are asked about images of the tune split; of the gate's where there is none, without their
    labels.

    Raises:
        ConfigError, MeasureError, NotRepeatableError: as ``check_answers`` and
            ``check_same_order``.
    """
    images, classes = data.tune or data.gate, data.gate.classes
    count = images_at_once(size[1:], most=PROBES) if images.segmented else PROBES
    pixels = images.images[reading_order(images.ids, seed=seed)[:count]]
    first: NDArray[np.int64] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for number, model in enumerate(models):
            file = Path(folder) / f"{number}.onnx"
            file.write_bytes(model.content)
            predict = predictor(
                file, model.preprocessing, size=size, provider=provider, threads=cpu_threads()
            )
            predicted = check_answers(
                model.name, predict, pixels, len(classes), per_pixel=images.segmented
            )
            first = predicted if first is None else first
            check_same_order(model.name, first, predicted, classes)
