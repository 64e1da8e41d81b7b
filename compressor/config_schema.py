"""What compress.yaml may say: every field with its meaning, its unit and its default."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    model_validator,
)

from compressor.config_fields import Real
from compressor.config_fields import Record as _Record
from compressor.config_search import Search


def _names_function(value: str) -> str:
    module, colon, function = value.partition(":")
    if not (colon and function.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        raise ValueError(f"{value!r} is not 'module:function', as in my_pkg.nets:resnet20")
    return value


Spec = Annotated[str, AfterValidator(_names_function)]


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


class Input(_Record):
    """What the network takes: (pixel / 255 - mean) / std, channels first."""

    size: tuple[
        Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]
    ] = Field(description="channels, height, width in pixels")
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


class FolderSource(_Record):
    """Image files, one folder a class."""

    folder: Path = Field(description="holds one folder a class; relative to compress.yaml")


class ArchiveSource(_Record):
    """Arrays in a numpy archive."""

    npz: Path = Field(
        description="images uint8 [n h w c] or [n c h w], labels int [n], and perhaps classes [k]; "
        "relative to compress.yaml"
    )


class TorchvisionSource(_Record):
    """A data set that torchvision knows, already on the disk."""

    torchvision: Literal[
        "CIFAR10", "CIFAR100", "FashionMNIST", "Flowers102", "Food101", "GTSRB", "KMNIST", "MNIST",
        "STL10", "SVHN",
    ] = Field(description="its class in torchvision.datasets; never downloaded")  # fmt: skip
    root: Path = Field(description="folder that holds it; relative to compress.yaml")
    split: Literal["train", "test"] = Field(description="which of its parts")


class FactorySource(_Record):
    """A data set that the user's own code makes."""

    factory: Spec = Field(
        description="'module:function' that returns a map-style data set of (image, class index)"
    )
    kwargs: dict[str, JsonValue] = Field(default={}, description="arguments of the factory")


# The key that tells each kind, and the tag of the kind. A tag is no key of the file, so that the
# key paths in error messages can leave it out.
_KINDS: Final = {
    "folder": "FolderSource",
    "npz": "ArchiveSource",
    "torchvision": "TorchvisionSource",
    "factory": "FactorySource",
}


def _kind(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return type(value).__name__
    kinds = [kind for key, kind in _KINDS.items() if key in value]
    return kinds[0] if len(kinds) == 1 else None


Source = Annotated[
    Annotated[FolderSource, Tag("FolderSource")]
    | Annotated[ArchiveSource, Tag("ArchiveSource")]
    | Annotated[TorchvisionSource, Tag("TorchvisionSource")]
    | Annotated[FactorySource, Tag("FactorySource")],
    Discriminator(
        _kind,
        custom_error_type="source",
        custom_error_message="a source has exactly one of folder, npz, torchvision and factory",
    ),
]


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


class Data(_Record):
    """Where the images are."""

    train: Source = Field(description="for retraining and for choosing")
    tune: TuneSplit = Tune()
    gate: GateSource
    ledger: Ledger = None


class GateData(_Record):
    """Where the images are, when nothing is pruned."""

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
    provider: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where: auto is the fastest that works here"
    )


ModelField = Annotated[Model, Field(description="how a file becomes a network")]
RetrainField = Annotated[Retrain, Field(description="how a pruned network is retrained")]
SearchField = Annotated[Search, Field(description="which candidates are made")]
LatencyField = Annotated[Latency, Field(description="how speed is measured")]
Seed = Annotated[int, Field(ge=0, description="of every random choice")]


class Project(_Record):
    """The contents of compress.yaml."""

    model: ModelField = Model()
    input: Input = Field(description="what the network takes")
    data: Data = Field(description="where the images are")
    retrain: RetrainField = Retrain()
    search: SearchField = Search()
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
    latency: LatencyField = Latency()
    seed: Seed = 0
