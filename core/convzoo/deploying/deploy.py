"""``convzoo.deploy``: the form of a network for inference."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from convzoo.errors import LifecycleError, OptionError, require_flag, shown
from convzoo.network.arguments import network
from convzoo.network.lifecycle import Deployable

if TYPE_CHECKING:
    import torch
    from torch import nn

    from convzoo.deploying.rewrites import Rewrite

    M = TypeVar("M", bound=nn.Module)


def deploy(model: M, *, example_input: torch.Tensor | None = None, rewrite: bool = True) -> M:
    """A copy of ``model`` for inference, in eval mode, that gives the outputs that ``model`` gives in eval mode.

    Every :class:`~convzoo.network.lifecycle.Deployable` layer takes its other form. Then norms go into the convolutions
    before them, sums and activations are made by convolutions, and what is left does as few passes over the map as it
    can: ``convzoo deploy NAME --explain`` lists it. On a processor, in float32 and under ``torch.inference_mode()`` or
    ``torch.no_grad()``, it is computed in channels_last, by oneDNN. Elsewhere torch's general functions compute the
    same, so that it can be moved, compiled, exported and traced as any network.

    ``model`` stays as it is. A part that ``torch.fx`` cannot trace keeps what is inside of it apart.

    Args:
        model: a network, or a part of one.
        example_input: images ``(N, C, H, W)`` as it will be given; each convolution and each dense stage then runs the
            way that was faster on them, here and now. Without, the choice is always the same.
        rewrite: False gives no more than the layers' own forms.

    Raises:
        LifecycleError: a layer is not ready; the message names it and says what it waits for.
        OptionError: ``model`` is no module, or ``example_input`` no images.
    """
    from convzoo.deploying.rewrites import REWRITES

    rewrites = REWRITES if require_flag("rewrite", rewrite) else ()
    deployed, _ = deployed_by(model, rewrites)
    if example_input is not None:
        _choose(deployed, example_input)
    return deployed


def deployed_by(model: M, rewrites: tuple[Rewrite, ...]) -> tuple[M, Counter[str]]:
    """As :func:`deploy`, with some rewrites; and by name, how many places each has changed.

    Args:
        model: the network.
        rewrites: what is tried, in this order.

    Raises:
        LifecycleError, OptionError: as :func:`deploy`.
    """
    import torch

    from convzoo.deploying.parts import rewritten

    counts: Counter[str] = Counter()
    with torch.inference_mode(False), torch.no_grad():
        deployed = _own_forms(copy.deepcopy(network(model)).eval(), "")
        if rewrites:
            deployed = rewritten(deployed, rewrites, counts)
    for module in deployed.modules():
        if hasattr(module, "deployed"):
            module.deployed = True
    return deployed, counts


def _own_forms(module: Any, path: str) -> Any:
    if isinstance(module, Deployable):
        try:
            return module.deploy().eval()
        except LifecycleError as error:
            raise LifecycleError(f"cannot deploy {path or type(module).__name__}: {error}") from None
    for name, child in module.named_children():
        form = _own_forms(child, f"{path}.{name}".lstrip("."))
        if form is not child:
            setattr(module, name, form)
    return module


def _choose(deployed: nn.Module, images: Any) -> None:
    """Let stages and convolutions run the way that is faster when ``deployed`` is given ``images``."""
    import torch

    from convzoo.deploying.convolution import FusedConv2d
    from convzoo.deploying.dense import DenseStage

    if not isinstance(images, torch.Tensor):
        raise OptionError(f"example_input is a tensor of images, got {shown(images)}")
    for kind in (DenseStage, FusedConv2d):
        modules = [module for module in deployed.modules() if isinstance(module, kind)]
        hooks = [each.register_forward_pre_hook(lambda module, given: module.choose(*given)) for each in modules]
        try:
            with torch.inference_mode():
                deployed(images)
        finally:
            for hook in hooks:
                hook.remove()
