"""The networks that the demo trains, prunes and judges: small, residual, with room to prune."""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from compressor.training.recipe import Recipe

WIDTHS: Final = (24, 48, 96)

# 98.5 % on unseen signs after training on 10,000; about 40 CPU seconds. Three learning rates, not
# five: a network from scratch gains more from large steps than a pruned one. No flip: a mirrored
# "turn left" is another class.
DEMO_TRAINING: Final = Recipe(epochs=8, lr=0.1, final_lr=1e-3, distill=0, augment=("crop",))


# 97.6 % of the pixels of unseen streets after training on 2,000; about three CPU minutes. Streets
# may be mirrored.
STREET_TRAINING: Final = Recipe(
    epochs=12, lr=0.1, final_lr=1e-3, distill=0, batch_size=32, augment=("flip", "crop")
)


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut. He et al. 2016, arXiv:1512.03385."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Features [n inputs h w] to [n outputs h/stride w/stride]."""
        inner = self.relu(self.norm1(self.conv1(x)))
        total: Tensor = self.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))
        return total


def sign_net(classes: int = 12) -> nn.Module:
    """Images float32 [n 3 h w], normalised, to logits [n classes]; h and w divisible by 8.

    Half the resolution before the first block keeps a 32x32 image at about 7 million MACs.
    """
    first, second, third = WIDTHS
    return nn.Sequential(
        nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        Residual(first, first, stride=1),
        Residual(first, second, stride=2),
        Residual(second, third, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, classes),
    )


class StreetNet(nn.Module):
    """Classes read off at three resolutions, added up. Long et al. 2015, arXiv:1411.4038."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        )
        self.fine = Residual(first, first, stride=1)
        self.middle = Residual(first, second, stride=2)
        self.coarse = nn.Sequential(
            Residual(second, third, stride=2), Residual(third, third, stride=2)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in (first, second, third))

    def forward(self, x: Tensor) -> Tensor:
        """Images [n 3 h w] to logits [n classes h w]; h and w divisible by 16."""
        fine = self.fine(self.stem(x))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        found = [head(part) for head, part in zip(self.heads, (fine, middle, coarse), strict=True)]
        # By fixed factors: nothing in the exported file has to ask for a shape.
        parts = [
            functional.interpolate(logits, scale_factor=factor, mode="bilinear")
            for logits, factor in zip(found, (2.0, 4.0, 16.0), strict=True)
        ]
        return parts[0] + parts[1] + parts[2]


def street_net(classes: int = 5) -> nn.Module:
    """Images float32 [n 3 h w], normalised, to logits [n classes h w]; h and w divisible by 16."""
    return StreetNet(classes)
