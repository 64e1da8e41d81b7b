"""What compress.yaml may say: every field with its meaning, its unit and its default."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from compressor.config_export import Export
from compressor.config_fields import Real
from compressor.config_fields import Record as _Record
from compressor.config_search import Search
from compressor.config_sources import Source, Spec


class Model(_Record):
    """How MODEL becomes a network."""

    factory: Spec | None = Field(
        default=None,
        description="'module:function' that builds the network when MODEL holds only its weights; "
        "the module may lie beside compress.yaml",
    )
    kwargs: dict[str, JsonValue] = Field(default={}, description="arguments of the factory")
    trust: tuple[str, ...] = Field(
        default=(),
        description="'package.module.Class' that a whole pickled module may use besides the layers "
        "of torch and torchvision",
    )
    output: str | None = Field(
        default=None,
        min_length=1,
        description="which of the tensors that the network returns is its answer, by its key, the "
        "name of its field or its number; left out, the only one, or that under 'out' or 'logits'",
    )


Pixels = Annotated[int, Field(ge=1)]


class Input(_Record):
    """What the network takes: (pixel / 255 - mean) / std, channels first."""

    size: tuple[Pixels, Pixels, Pixels] = Field(description="channels, height, width in pixels")
    resize: tuple[Pixels, Pixels] | None = Field(
        default=None,
        description="height and width in pixels that the network was trained at, where its images "
        "come in another size: it then resizes them itself (bilinear, antialiased), inside the "
        "file too. Left out, or as in size, nothing is resized",
    )
    mean: tuple[Real, ...] = Field(description="one per channel, of pixels in 0..1")
    std: tuple[Annotated[Real, Field(gt=0)], ...] = Field(
        description="one per channel, of pixels in 0..1"
    )

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> "Input":
        channels = self.size[0]
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(
                f"size has {channels} channels, mean {len(self.mean)} values, std {len(self.std)}; "
                "give one mean and one std per channel"
            )
        return self

    @field_validator("resize")
    @classmethod
    def _only_to_another_size(
        cls, resize: tuple[int, int] | None, info: ValidationInfo
    ) -> tuple[int, int] | None:
        """None where the images have that size already."""
        return None if resize == info.data.get("size", ())[1:] else resize

    @model_serializer(mode="wrap")
    def _as_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without ``resize`` where nothing is: plans of runs before it was known stay the same."""
        said: dict[str, Any] = handler(self)
        return {name: value for name, value in said.items() if name != "resize" or value}


class Tune(_Record):
    """Images held back from training, to choose ratios and to stop retraining."""

    from_: Literal["train"] = Field(
        default="train", alias="from", description="never the gate's images"
    )
    fraction: Real = Field(default=0.1, gt=0, lt=1, description="share of the training images")


TuneSplit = Annotated[Tune, Field(description="part of train that is not trained on")]
GateSource = Annotated[
    Source, Field(description="used once, by the gate alone; no image may be in train too")
]
Ledger = Annotated[
    Path | None,
    Field(
        description="where uses of the gate's images are recorded, relative to compress.yaml; "
        "without it holdout-ledger.jsonl beside them, for a factory beside compress.yaml"
    ),
]


Classes = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...] | None,
    Field(
        min_length=1,
        description="names of the classes in the order of the network's outputs; for masks, which "
        "hold numbers. Sources that name their own classes must name the same",
    ),
]


class Data(_Record):
    """Where the images are."""

    classes: Classes = None
    train: Source = Field(description="for retraining and for choosing")
    tune: TuneSplit = Tune()
    gate: GateSource
    ledger: Ledger = None


class GateData(_Record):
    """Where the images are, when nothing is pruned."""

    classes: Classes = None
    train: Source | None = Field(
        default=None,
        description="what the models were trained on: for choosing what to look at first, and to "
        "see that no image of the gate is among it",
    )
    tune: TuneSplit = Tune()
    gate: GateSource
    ledger: Ledger = None


class Original(_Record):
    """The learning rates that the dense network was trained with."""

    epochs: int = Field(ge=1, description="how long it was trained")
    lr: Real = Field(gt=0, description="learning rate at its peak")
    milestones: tuple[int, ...] = Field(
        default=(), description="epochs, from 0, at which the rate was multiplied by factor"
    )
    factor: Real = Field(default=0.1, gt=0, le=1, description="of each milestone")
    cosine: bool = Field(default=False, description="half a cosine to 0 instead of milestones")
    warm_up: int = Field(default=0, ge=0, description="epochs in which the rate rose to lr")


class Retrain(_Record):
    """How a pruned network regains what it lost."""

    recipe: Literal["halving", "rewinding", "cosine"] = Field(
        default="halving",
        description="how the rate falls: tenfold from stage to stage, each half as long as what is "
        "left; as in the last epochs of the original training; or along a cosine",
    )
    epochs: int = Field(default=10, ge=1, description="passes over the training images per ratio")
    lr: Real = Field(
        default=0.05, gt=0, description="learning rate at its peak; rewinding has original's"
    )
    warm_up: Real = Field(
        default=0.0, ge=0, description="epochs in which a cosine rises to lr, below epochs"
    )
    original: Original | None = Field(
        default=None, description="for rewinding: how the dense network's learning rate went"
    )
    batch_size: int = Field(default=128, ge=1, description="images per step")
    weight_decay: Real = Field(default=5e-4, ge=0, description="L2 penalty per step")
    momentum: Real = Field(default=0.9, ge=0, lt=1, description="of SGD")
    distill: Real = Field(
        default=0.5,
        ge=0,
        le=1,
        description="weight of the dense network's answers in the loss, the labels having the "
        "rest. A network that imitates the dense one disagrees with it on fewer images, so fewer "
        "images can show that it is safe",
    )
    augment: tuple[Literal["flip", "crop"], ...] = Field(
        default=("flip", "crop"),
        description="random changes of training images: mirrored left to right, shifted by up to "
        "an eighth. Leave out flip where left and right differ in meaning (digits, road signs)",
    )
    amp: bool = Field(default=True, description="half precision on GPUs that have it")
    ema: Real = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay per step of the average of the weights that is kept instead of the last "
        "ones; 0 keeps the last ones, 0.99 to 0.999 suit hundreds to thousands of steps",
    )
    choose: Literal["last", "best_on_tune"] = Field(
        default="last",
        description="which epoch's weights are kept: the last, or the most accurate on data.tune",
    )
    processes: int = Field(
        default=1,
        ge=1,
        description="share every batch in equal parts, on a GPU each where there are GPUs "
        "(DistributedDataParallel)",
    )
    robust: Real = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the training images that get one of the shifts which the policy "
        "marks as accounted; 0 trains on none of them",
    )


class Latency(_Record):
    """How speed is measured."""

    batches: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(1, 32), min_length=1, description="images per call, one measurement each"
    )
    seconds: Real = Field(default=20.0, gt=0, description="time per measurement")
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        default="auto",
        description="where: auto is cuda if it works here and else cpu, others are refused where "
        "they do not work; compress doctor tells",
    )


ModelField = Annotated[Model, Field(description="how a file becomes a network")]
RetrainField = Annotated[Retrain, Field(description="how a pruned network is retrained")]
SearchField = Annotated[Search, Field(description="which candidates are made")]
ExportField = Annotated[Export, Field(description="in which form files are judged and released")]
LatencyField = Annotated[Latency, Field(description="how speed is measured")]
Seed = Annotated[int, Field(ge=0, description="of every random choice")]


class Project(_Record):
    """The contents of compress.yaml."""

    model: ModelField = Model()
    input: Input = Field(description="what the network takes")
    data: Data = Field(description="where the images are")
    retrain: RetrainField = Retrain()
    search: SearchField = Search()
    export: ExportField = Export()
    latency: LatencyField = Latency()
    seed: Seed = 0


class GateProject(_Record):
    """The same, of which judging models that others have made needs less."""

    model: ModelField = Model()
    input: Input | None = Field(
        default=None, description="what the networks take; None if their files say it themselves"
    )
    data: GateData = Field(description="where the images are")
    retrain: RetrainField = Retrain()
    search: SearchField = Search()
    export: ExportField = Export()
    latency: LatencyField = Latency()
    seed: Seed = 0
