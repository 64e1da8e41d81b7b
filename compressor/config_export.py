"""What compress.yaml may say about the files that networks become."""

from typing import Literal

from pydantic import Field

from compressor.config_fields import Record


class Export(Record):
    """In which form networks are judged and released."""

    precision: Literal["fp32", "fp16", "int8", "auto"] = Field(
        default="fp32",
        description="of weights and sums. auto tries each that can be faster on latency.provider, "
        "shares alpha among them, and releases the fastest that the policy accepts",
    )
    preprocessing: bool = Field(
        default=True,
        description="files take pixels, uint8 [n h w c], and normalise them themselves; without "
        "it they take normalised float32 [n c h w]",
    )
    calibration_images: int = Field(
        default=256, ge=1, description="training images whose values set the ranges of int8"
    )
