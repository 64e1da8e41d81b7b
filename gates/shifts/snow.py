"""Snow: blown flakes over an image that the light of snow has whitened.

Formulas: Hendrycks & Dietterich 2019 (arXiv:1903.12261), ``make_imagenet_c.py``.
"""

import torch
from torch import Tensor

from gates.shifts.draws import Draws
from gates.shifts.grey import grey
from gates.shifts.motion import streaked
from gates.shifts.shift import WHOLE_SLACK
from gates.shifts.tables import Parameters
from gates.shifts.zoom import zoom_operator


def snow(images: Tensor, *, parameters: Parameters, draws: Draws) -> Tensor:
    """Whiten the image, then add the same flakes twice, the second time turned by 180 degrees.

    Parameters: mean and standard deviation of the noise that flakes are made from, factor by which
    it is enlarged, value from which on it is a flake, radius and standard deviation of the wind's
    blur in pixels, share of the image that is not whitened.
    """
    *_, kept = parameters
    height, width = images.shape[-2:]
    flakes = draws.layers(snow_layer, size=(height, width), parameters=parameters).to(images)
    fallen = (flakes + flakes.flip(1, 2)).div_(255.0).unsqueeze(1)
    white = torch.maximum(images, 1.5 * grey(images) + 0.5)
    return white.lerp_(images, kept).add_(fallen)


def snow_layer(draws: Draws, *, size: tuple[int, int], parameters: Parameters) -> Tensor:
    """Flakes that the wind draws out downwards, bytes [n h w].

    ImageMagick, which blurs for the generator, cuts its result off to bytes (seen with 6.9.11), and
    so does this.
    """
    mean, deviation, factor, threshold, radius, sigma, _ = parameters
    along_columns, along_rows = (zoom_operator(side, factor) for side in size)
    noise = mean + deviation * draws.normal(*size)
    flakes = along_columns @ noise @ along_rows.T
    flakes = flakes.masked_fill(flakes < threshold, 0.0).clamp(0.0, 1.0)
    angles = 90.0 * draws.uniform() - 135.0
    still = (255.0 * flakes).floor().unsqueeze(1)
    blown = streaked(still, radius=radius, sigma=sigma, angles=angles)
    return (blown.squeeze(1) + WHOLE_SLACK).to(torch.uint8)
