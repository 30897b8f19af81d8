"""What several commands do something with: a network that a command line names, and images for it."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from convzoo.cli.assignments import assignments
from convzoo.errors import OptionError, require_int

if TYPE_CHECKING:
    from convzoo.network.model import ConvNet


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which network, and which images."""
    parser.add_argument("name", metavar="NAME", help="of a model, or a folder that a model was saved to")
    parser.add_argument("words", nargs="*", metavar="OPTION=VALUE", help="as for create_model")
    parser.add_argument("--weights", metavar="WEIGHTS", help="as for create_model: a file or a URL, for example")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="images; default: 1")
    parser.add_argument("--image-size", type=int, metavar="PX", help="side of the images; default: the model's own")


def made(options: argparse.Namespace) -> ConvNet:
    """The network that ``name``, ``words`` and ``weights`` of a command line are about.

    Without weights it has random ones, those of norms too, so that every layer shows, and its training is done.
    """
    import torch

    from convzoo.api import create_model
    from convzoo.network.lifecycle import set_progress
    from convzoo.network.packages import FOLDER, is_package
    from convzoo.testing.numerics import jitter_norms

    # No model has a separator in its name.
    folder = not is_package(options.name) and (
        os.path.isdir(options.name) or os.path.basename(options.name) != options.name
    )
    name = f"{FOLDER}{options.name}" if folder else options.name
    changes: dict[str, Any] = assignments(options.words)
    if taken := changes.keys() & {"weights", "device", "dtype"}:
        raise OptionError(f"{min(taken)} is no option here; --weights has the weights, and it is made in float32")
    if options.weights is not None:
        changes["weights"] = options.weights
    torch.manual_seed(0)
    model = create_model(name, **changes)
    if options.weights is None and not changes.get("pretrained", is_package(name)):
        jitter_norms(model)
        set_progress(model, 1.0)  # before which it may have no form for inference
    return model


def images_for(model: Any, count: int, size: int | None) -> Any:
    """``count`` random images of a model's size, or of another ``size``: ``(N, C, H, W)``."""
    import torch

    channels, height, width = model.default_cfg["input_size"]
    if size is not None:
        height = width = require_int("--image-size", size, at_least=1, at_most=8192)
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(1))
