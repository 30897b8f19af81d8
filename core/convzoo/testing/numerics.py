"""Numerics that the conformance kit, transplant and parity share: differences, jittered weights and test images."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from convzoo.errors import ConvzooError, OptionError, listed
from convzoo.network.model import ConvNet
from convzoo.network.weights import COUNTER
from convzoo.spec.model import DATASETS
from convzoo.testing.norms import Differentiable

INPUTS = ("random", "photos")


@dataclass(frozen=True)
class Difference:
    """The largest difference of a check.

    Args:
        absolute: as it is; infinite where a value is not finite.
        relative: by the largest value of the reference.
        where: the name of the tensor that has it.
    """

    absolute: float
    relative: float
    where: str = ""


def largest_difference(pairs: Mapping[str, Sequence[torch.Tensor]], floor: float = 0.0) -> Difference:
    """The pair with the largest relative difference; integers that differ do so by at least 1.

    Args:
        pairs: ``name: (ours, theirs)``, of one shape each.
        floor: the least that a difference is divided by, where the largest value of theirs is smaller.

    Raises:
        OptionError: shapes differ.
    """
    worst = Difference(0.0, 0.0)
    for name, (ours, theirs) in pairs.items():
        if ours.shape != theirs.shape:
            raise OptionError(f"{name}: shape {tuple(ours.shape)}, the reference's {tuple(theirs.shape)}")
        widest = torch.complex128 if ours.is_complex() or theirs.is_complex() else torch.float64
        exact = not any(tensor.is_floating_point() or tensor.is_complex() for tensor in (ours, theirs))
        ours, theirs = (tensor if exact else tensor.to(widest) for tensor in (ours, theirs))
        if torch.equal(ours, theirs) and ours.isfinite().all():
            continue
        difference = float((ours.to(widest) - theirs.to(widest)).abs().max())
        scale = max(float(theirs.to(widest).abs().max()), floor)
        relative = difference / scale if scale else (math.inf if difference else 0.0)
        if exact:
            difference, relative = max(difference, 1.0), max(relative, 1.0)
        if not (math.isfinite(difference) and math.isfinite(scale)):
            difference = relative = math.inf
        if relative > worst.relative or (relative == worst.relative and difference > worst.absolute):
            worst = Difference(difference, relative, name)
    return worst


def jitter_norms(model: nn.Module) -> None:
    """Give every norm of ``model`` a random scale, shift and statistics, away from 1 and 0."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm)):
                if module.weight is not None:
                    module.weight.uniform_(0.4, 0.8)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1)
                for name, buffer in module.named_buffers():
                    if name == "running_mean":
                        buffer.normal_(0, 0.1)
                    elif name == "running_var":
                        buffer.uniform_(0.5, 1.5)


def jitter(model: nn.Module) -> None:
    """Add noise to the norms of ``model`` and to every other tensor that is constant, such as a bias.

    In a fresh network such constants hide errors: a branch whose last scale is 0 can compute anything.
    """
    jitter_norms(model)
    parameters = {id(parameter) for parameter in model.parameters()}
    with torch.no_grad():
        for tensor in model.state_dict(keep_vars=True).values():
            # A buffer that is one number is a setting, not a weight.
            least = 1 if id(tensor) in parameters else 2
            weight = (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel() >= least
            if weight and (tensor == tensor.flatten()[:1]).all():
                tensor.add_(torch.randn_like(tensor), alpha=0.1)


def silent_weights(model: ConvNet, images: torch.Tensor, among: Container[str] | None = None) -> list[str]:
    """Tensors of the state dict that do not influence the eval output; a sound network has none.

    Args:
        model: in any mode; its norms should be jittered. It is put into eval mode, and its weights come back as they
            were.
        images: a batch for it.
        among: only these are tried; all by default.
    """
    model.eval()
    shown = _with_gradient(model, images)  # of the rest, each is changed by itself
    layers = {"stem": model.stem}
    for number, stage in enumerate(model.stages):
        layers |= {f"stages.{number}.{name}": layer for name, layer in stage.named_children()}
    layers["head"] = model.head
    rest = nn.Sequential(*layers.values())
    silent = []
    with torch.no_grad():
        before = model(images)
        for place, layer in layers.items():
            for name, tensor in layer.state_dict(prefix=f"{place}.").items():
                if name.endswith(COUNTER) or name in shown or (among is not None and name not in among):
                    continue
                saved = tensor.clone()
                if tensor.is_floating_point():
                    tensor.mul_(1.5).add_(0.1)
                else:  # a mask or an index
                    tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor.flip(-1))
                if torch.equal(rest(images), before):
                    silent.append(name)
                tensor.copy_(saved)
            images, rest = layer(images), rest[1:]  # layers before the changed tensor need not run again
    return silent


def _with_gradient(model: nn.Module, images: torch.Tensor) -> set[str]:
    """Tensors of the state dict by which a random sum of the eval outputs has a gradient, so that they influence it."""
    leaves = {k: t.detach().requires_grad_() for k, t in model.state_dict().items() if t.is_floating_point()}
    with Differentiable():
        out = torch.func.functional_call(model, leaves, (images,))
    gradients = torch.autograd.grad((out * torch.randn_like(out)).sum(), list(leaves.values()), allow_unused=True)
    return {k for k, g in zip(leaves, gradients, strict=True) if g is not None and g.isfinite().all() and g.any()}


def load_images(images: str, size: int, *, seed: int = 0, dataset: str = "imagenet") -> torch.Tensor:
    """Two images, ``(2, 3, size, size)``, normalised.

    Args:
        images: ``"random"`` ones are noise of different brightness and contrast; ``"photos"`` the two that scikit-learn
            ships.
        size: side in pixels.
        seed: of the noise.
        dataset: whose mean and deviation photographs are normalised by, ``"imagenet"`` or ``"cifar10"``.

    Raises:
        OptionError: neither of the two.
        ConvzooError: the photographs need scikit-learn and Pillow.
    """
    if images == "random":
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(2, 3, size, size, generator=generator)
        # Images of one brightness and contrast look alike once they are pooled, and a batch norm that sees little
        # more than rounding between two samples blows that up.
        return noise * torch.tensor([0.2, 2.0]).view(2, 1, 1, 1) + torch.randn(2, 3, 1, 1, generator=generator)
    if images != "photos":
        raise OptionError(f"images={images!r}: known are {listed(INPUTS)}")
    try:
        from sklearn.datasets import load_sample_images

        photos = load_sample_images().images
    except ImportError as error:
        raise ConvzooError(
            f"the photographs need scikit-learn and Pillow ({error}): pip install 'convzoo[parity]'"
        ) from error
    batch = torch.stack([torch.from_numpy(photo.copy()) for photo in photos]).permute(0, 3, 1, 2).float() / 255
    side = min(batch.shape[2:])
    top, left = (batch.shape[2] - side) // 2, (batch.shape[3] - side) // 2
    batch = batch[:, :, top : top + side, left : left + side]
    batch = nn.functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(DATASETS[dataset][key]).view(3, 1, 1) for key in ("mean", "std"))
    return (batch - mean) / std
