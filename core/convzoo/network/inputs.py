"""Weights for RGB images in a network for images of other channels, as timm has it (``adapt_input_conv``)."""

from __future__ import annotations

import torch

from convzoo.network.values import ShapeMisfit

RGB = 3


def for_images(key: str, given: torch.Tensor, wanted: torch.Tensor, in_chans: int) -> torch.Tensor:
    """``given``; adapted, if ``wanted`` is the weight of a convolution of the image, and ``given`` that for RGB images.

    Only the stem sees the image, and what reads it has the image's channels as its inputs. So these are the weights of
    the stem with ``in_chans`` inputs that differ from ``given`` in nothing but their number.

    Args:
        key: of ``wanted`` in the network's state dict.
        given, wanted: the value, and what it is for.
        in_chans: channels of the network's images.

    Raises:
        ShapeMisfit: ``given`` is for images of yet another number of channels.
    """
    if not (
        key.startswith("stem.")
        and given.dim() == wanted.dim() == 4
        and given.shape[1] != wanted.shape[1] == in_chans
        and (given.shape[0], given.shape[2:]) == (wanted.shape[0], wanted.shape[2:])
    ):
        return given
    if given.shape[1] != RGB:
        raise ShapeMisfit(
            f"{tuple(given.shape)} instead of {tuple(wanted.shape)}: for images of {given.shape[1]} channels, and only"
            f" weights for {RGB} are adapted; a network with in_chans={given.shape[1]} takes them"
        )
    return adapted(given, in_chans)


def adapted(weight: torch.Tensor, in_chans: int) -> torch.Tensor:
    """A weight of ``(out_channels, 3, H, W)`` for images of ``in_chans`` channels.

    One channel gets the sum over red, green and blue, so that a grey image gives what it gave as RGB. More channels get
    these three in turn, scaled by ``3 / in_chans``, so that activations keep their size.
    """
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if in_chans == 1:
        return exact.sum(1, keepdim=True).to(weight.dtype)
    turns = torch.arange(in_chans, device=weight.device) % RGB
    return (exact[:, turns] * (RGB / in_chans)).to(weight.dtype)
