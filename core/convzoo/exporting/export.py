"""Writing a network to a file, and running the file beside the network."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convzoo.errors import ConvzooError, OptionError, require_choice, said, shown
from convzoo.exporting import FORMATS
from convzoo.exporting.base import DYNAMIC
from convzoo.testing.numerics import largest_difference


@dataclass(frozen=True)
class Comparison:
    """A file beside its network on one batch of images.

    Attributes:
        shape: of the images.
        absolute: the largest difference of an output; infinite where one is not finite, or of another shape.
        relative: the same over the network's largest output.
    """

    shape: tuple[int, ...]
    absolute: float
    relative: float


def export(model: nn.Module, images: torch.Tensor, path: Path, format: str, dynamic: Sequence[str] = ()) -> list[Path]:
    """Write ``model`` to ``path``, with all or nothing there afterwards; gives the files that were written.

    Args:
        model: a network; it is put into eval mode.
        images: ``(N, C, H, W)``, the batch that the file is for.
        path: of the file, which ends as the format wants it.
        format: one of ``onnx``, ``pt2``, ``openvino`` and ``aoti``.
        dynamic: ``batch``, ``size`` or both: what may be another when the file runs.

    Raises:
        OptionError: there is no such format, or it cannot be written here; nothing is done then.
        ConvzooError: the format cannot say what the network does.
    """
    check(path, format, dynamic)
    model.eval()
    if "batch" in dynamic and len(images) < 2:  # torch takes a batch of one for a constant
        images = torch.cat([images, images])
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convzoo-") as folder:
        try:
            with torch.no_grad():
                FORMATS[format].write(model, images, dynamic, Path(folder, path.name))
        except Exception as error:
            open_ = f" with {' and '.join(dynamic)} left open" if dynamic else ""
            raise ConvzooError(f"{format} has no form of this network{open_}: {_reason(error)}") from error
        written = [path.parent / file.name for file in sorted(Path(folder).iterdir())]
        for file in written:
            os.replace(Path(folder, file.name), file)
    return written


def check(path: Path, format: str, dynamic: Sequence[str] = ()) -> None:
    """OptionError if :func:`export` cannot write such a file: ``path``, ``format`` and ``dynamic`` are as there."""
    chosen = FORMATS[require_choice("format", format, FORMATS)]
    for each in dynamic:
        require_choice("dynamic", each, DYNAMIC)
    if path.suffix != chosen.suffix:
        raise OptionError(f"a file of format {format} ends in {chosen.suffix}, unlike {shown(str(path))}")
    if path.is_dir() or not path.parent.is_dir():
        raise OptionError(f"cannot write to {shown(str(path))}: it is a folder, or its folder does not exist")
    if told := chosen.refusal():
        raise OptionError(told)


def compare(
    model: nn.Module, path: Path, format: str, images: torch.Tensor, dynamic: Sequence[str] = ()
) -> list[Comparison]:
    """Run a file beside its network, on the images that it is for, and on others for what was left open.

    Args:
        model: the network, which is put into eval mode.
        path, format, dynamic: of the file, as it was written.
        images: ``(N, C, H, W)``.

    Raises:
        ConvzooError: the engine cannot run the file.
    """
    batches = [images, *_others(images, dynamic)]
    try:
        run = FORMATS[format].load(path)
        found = [run(batch) for batch in batches]
    except Exception as error:
        raise ConvzooError(f"{path} was written, and its engine cannot run it: {_reason(error)}") from error
    return [_compared(model, batch, outputs) for batch, outputs in zip(batches, found, strict=True)]


def _others(images: torch.Tensor, dynamic: Sequence[str]) -> list[torch.Tensor]:
    """Batches that only an open file takes: of another number, a single one, and of another height and width."""
    count, channels, height, width = images.shape
    shapes = [(number, channels, height, width) for number in {1, count + 2} - {count} if "batch" in dynamic]
    if "size" in dynamic:
        shapes.append((count, channels, height + 32, width + 64))
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def _compared(model: nn.Module, images: torch.Tensor, found: list[torch.Tensor]) -> Comparison:
    with torch.no_grad():
        out = model.eval()(images)
    expected = [out] if isinstance(out, torch.Tensor) else list(out)
    absolute = relative = math.inf
    if [each.shape for each in found] == [each.shape for each in expected]:
        worst = largest_difference({str(n): pair for n, pair in enumerate(zip(found, expected, strict=True))})
        absolute, relative = worst.absolute, worst.relative
    return Comparison(tuple(images.shape), absolute, relative)


def _reason(error: BaseException) -> str:
    """What is at the bottom of it: exporters wrap their errors in errors of their own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return said(error)
