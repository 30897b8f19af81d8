"""Which values can be put in the place of a tensor of the model without losing anything, and why others cannot."""

from __future__ import annotations

from typing import Any

import torch

from convzoo.errors import first_of


class Misfit(ValueError):
    """A value that cannot take the place of a tensor; the message says in a few words what it is."""


class ShapeMisfit(Misfit):
    """A tensor of another shape."""


def plain(given: Any) -> torch.Tensor:
    """``given`` without its history, if it is a tensor that holds a value for each of its elements.

    Raises:
        Misfit: it is anything else.
    """
    if not isinstance(given, torch.Tensor):
        raise Misfit(f"{type(given).__name__} instead of a tensor")
    if type(given) not in (torch.Tensor, torch.nn.Parameter):
        mend = "; give its full_tensor()" if hasattr(given, "full_tensor") else "; give a plain tensor"
        raise Misfit(f"{type(given).__name__}{mend}")
    if given.is_quantized:
        raise Misfit("quantized; give its dequantize()")
    if given.is_nested:
        raise Misfit("nested; give one tensor")
    if given.layout is not torch.strided:
        raise Misfit(f"{str(given.layout).removeprefix('torch.')}; give its to_dense()")
    if given.is_meta:
        raise Misfit("on the meta device, without values")
    return given.detach() if given.requires_grad or type(given) is torch.nn.Parameter else given


def fitted(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """``given`` for the place of ``wanted``: of its shape, and of its kind of numbers.

    Floating-point numbers are rounded to the precision of ``wanted``; integers and truth values must come out the same.
    It is ``given`` itself unless its dtype changes, or it is a linear layer's in the place of a 1x1 convolution's.

    Raises:
        Misfit: it has another shape, or cannot be of this dtype.
    """
    if (given.dim(), wanted.dim()) == (2, 4) and (*given.shape, 1, 1) == wanted.shape:
        given = given[:, :, None, None]  # a linear layer within an attention is a 1x1 convolution here
    if given.shape != wanted.shape:
        raise ShapeMisfit(f"{tuple(given.shape)} instead of {tuple(wanted.shape)}")
    if given.dtype == wanted.dtype:
        return given
    dtypes = f"{given.dtype} instead of {wanted.dtype}"
    if given.is_complex() > wanted.is_complex():
        raise Misfit(dtypes)
    whole = not (wanted.is_floating_point() or wanted.is_complex())
    if not whole and not (given.is_floating_point() or given.is_complex()):
        raise Misfit(f"{dtypes}: whole numbers, as codes of quantized weights are")
    try:
        made = given.to(wanted.dtype)
        same = torch.equal(made.to(given.dtype), given) if whole else _in_range(given, made)
    except RuntimeError as error:  # of dtypes that torch only stores
        raise Misfit(f"{dtypes}: {first_of(str(error).splitlines(), 1)[0]}") from error
    if not same:
        raise Misfit(f"{dtypes}, which cannot hold its values")
    return made


def _in_range(given: torch.Tensor, made: torch.Tensor) -> bool:
    """Whether no number became infinite."""
    if torch.finfo(made.dtype).max >= torch.finfo(given.dtype).max:
        return True
    return torch.equal(made.isfinite(), given.isfinite())
