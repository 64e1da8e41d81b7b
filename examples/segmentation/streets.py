"""Draw street scenes with masks, and train one of torchvision's segmentation networks on them.

python streets.py deeplabv3_resnet50
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.models import segmentation

from compressor.config import load_project
from compressor.data import load_images
from compressor.demo.streets import draw
from compressor.pruning.plain import plain
from compressor.terminal import Terminal
from compressor.training.batches import accuracy
from compressor.training.epoch import TrainingProgress
from compressor.training.recipe import Recipe
from compressor.training.retrain import retrain
from compressor.workshop import labelled

HERE = Path(__file__).parent


def network(name: str = "deeplabv3_resnet50", classes: int = 5) -> nn.Module:
    """The factory that compress.yaml names: one of torchvision's, with random weights.

    The ResNets come with an auxiliary head, as torchvision's trained ones do; compress takes the
    output "out" and leaves the head behind.
    """
    extra = {} if name.startswith("lraspp") else {"aux_loss": True}
    build = getattr(segmentation, name)
    made: nn.Module = build(weights=None, weights_backbone=None, num_classes=classes, **extra)
    return made


def save(folder: Path, *, count: int, seed: int, side: int) -> None:
    """Scenes as folder/images/*.png and folder/masks/*.png."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    images, masks = draw(count=count, seed=seed, size=side)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(
            folder / "images" / f"{index:05}.png"
        )
        Image.fromarray(mask).save(folder / "masks" / f"{index:05}.png")


def train(name: str, *, epochs: int, lr: float, batch_size: int) -> None:
    """Weights of ``network(name)``, trained from nothing, as NAME.pt."""
    project = load_project(HERE / "compress.yaml")
    data = load_images(
        project.data.train,
        size=project.input.size,
        cache=HERE / ".compress-cache",
        root=HERE,
        classes=project.data.classes,
    )
    images = labelled(data, project.input)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # noqa: TID251 # layers draw their first weights from it; forked
        whole = network(name)
    recipe = Recipe(
        epochs=epochs, lr=lr, final_lr=lr / 100, distill=0.0, batch_size=batch_size,
        augment=("flip", "crop"),
    )  # fmt: skip
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with Terminal() as watch:

        def on_step(step: TrainingProgress) -> None:
            done = (step.epoch - 1) * step.steps + step.step
            watch.progress(f"train {name}", done, step.epochs * step.steps)

        # One output, and no auxiliary head: the form that compress cuts, too.
        plain_form = plain(whole, torch.zeros(2, *project.input.size)).model
        trained = retrain(
            plain_form, images, recipe=recipe, seed=0, device=device, on_step=on_step
        ).model
        found = accuracy(trained, images, device=device)
        watch.say(f"{name} names {found:.2%} of the pixels of a training image right")
    whole.load_state_dict(trained.state_dict(), strict=False)  # the auxiliary head stays as it was
    torch.save(whole.state_dict(), HERE / f"{name}.pt")


def main() -> None:
    """Draw what is not there yet, and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=["deeplabv3_resnet50", "fcn_resnet50",
                                         "lraspp_mobilenet_v3_large"])  # fmt: skip
    parser.add_argument("--train", type=int, default=600, help="scenes to train on")
    parser.add_argument("--gate", type=int, default=1500, help="scenes for the gate alone")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--batch-size", type=int, default=16)
    asked = parser.parse_args()
    side = load_project(HERE / "compress.yaml").input.size[1]
    for part, count, seed in (("train", asked.train, 1), ("gate", asked.gate, 2)):
        if not (HERE / "data" / part).exists():
            save(HERE / "data" / part, count=count, seed=seed, side=side)
    train(asked.name, epochs=asked.epochs, lr=asked.lr, batch_size=asked.batch_size)


if __name__ == "__main__":
    main()
