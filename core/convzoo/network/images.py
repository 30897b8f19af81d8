"""From images to a model's input, as its ``default_cfg`` describes it, by torchvision's transforms."""

from __future__ import annotations

import math
from typing import Any

import torch

from convzoo.errors import OptionError, require_flag, require_int
from convzoo.network.backbone import FeatureNet
from convzoo.network.keys import network_of
from convzoo.network.model import ConvNet

SMALL = 64
"""Images of this side or less are not resized: they come in their size, and are trained with a padded crop."""
PADDING = 4


def transforms(
    model: ConvNet | FeatureNet, *, train: bool = False, test_size: bool = False, size: int | None = None
) -> Any:
    """A ``torchvision.transforms.v2`` pipeline from an image to ``(3, H, W)`` for ``model`` (needs torchvision).

    For evaluation it is timm's: the shorter side resized, the middle cut out, the colours normalised; for images of 32
    px only the last. For training it is the usual one: a random crop of any size and a flip; at 32 px a crop from the
    padded image and a flip.

    Args:
        model: the network, whose ``default_cfg`` says what it wants.
        train: for training, instead of evaluation.
        test_size: evaluate at the larger size at which published weights do better, where the model says one.
        size: side of the images in pixels, instead of the model's.

    Raises:
        OptionError: torchvision is not installed, the model's images are not RGB, or an argument is impossible.
    """
    try:
        from torchvision.transforms import InterpolationMode, v2
    except ImportError as error:
        raise OptionError("transforms are torchvision's, which is not installed: pip install torchvision") from error
    network = network_of(model)
    cfg = network.default_cfg
    for name, flag in (("train", train), ("test_size", test_size)):
        require_flag(name, flag)
    tested = test_size and not train
    channels, side, _ = cfg.get("test_input_size", cfg["input_size"]) if tested else cfg["input_size"]
    crop = cfg.get("test_crop_pct", cfg["crop_pct"]) if tested else cfg["crop_pct"]
    if channels != len(cfg["mean"]):
        raise OptionError(
            f"{network.spec.name} takes images of {channels} channels; these transforms are for RGB images"
        )
    if size is not None:
        side = require_int("size", size, at_least=1, at_most=2**16)
    interpolation = InterpolationMode(cfg["interpolation"])
    steps: list[Any]
    if side <= SMALL and train:
        steps = [v2.RandomCrop(side, padding=PADDING), v2.RandomHorizontalFlip()]
    elif train:
        steps = [v2.RandomResizedCrop(side, interpolation=interpolation, antialias=True), v2.RandomHorizontalFlip()]
    elif cfg.get("crop_mode", "center") == "squash":
        whole = math.floor(side / crop + 1e-6)
        steps = [v2.Resize((whole, whole), interpolation=interpolation, antialias=True), v2.CenterCrop(side)]
    else:
        # A crop is kept as a share, which division has rounded.
        steps = [
            v2.Resize(math.floor(side / crop + 1e-6), interpolation=interpolation, antialias=True),
            v2.CenterCrop(side),
        ]
    steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(cfg["mean"]), list(cfg["std"]))]
    return v2.Compose(steps)
