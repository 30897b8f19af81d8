"""The classifier that reads half of the features, as the authors' converted networks have it."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from convzoo import LifecycleError
from convzoo.network.model import ConvNet


class IndexedLinear(nn.Linear):
    """A linear layer that reads only the features that ``index`` names: ``(..., F)`` to ``(..., out_features)``.

    Args:
        index: features read, in the order of the weight's columns.
        out_features: outputs.
    """

    index: torch.Tensor

    def __init__(self, index: torch.Tensor, out_features: int, *, bias: bool = True) -> None:
        super().__init__(len(index), out_features, bias, device="meta")
        self.register_buffer("index", index)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.index_select(-1, self.index), self.weight, self.bias)


def halve_classifier(model: ConvNet) -> ConvNet:
    """A copy of ``model`` whose classifier reads the half of the features that matters most to it.

    These are the ``floor(features / 2)`` with the largest sum of absolute weights over the classes. Unlike
    :func:`convzoo.deploy`, this changes the answers. The published sizes of CondenseNets count it in. Before or after
    ``deploy`` gives the same network. :func:`convzoo.save_pretrained` takes only the network before it is halved, which
    is halved again when it is loaded.

    Args:
        model: a network whose classifier is a plain linear layer; it stays as it is.

    Raises:
        LifecycleError: the classifier is something else.
    """
    old = model.get_classifier()
    if type(old) is not nn.Linear:
        raise LifecycleError(
            f"the classifier of {model.spec.name} is {type(old).__name__}, not a plain Linear, and cannot be halved"
        )
    with torch.no_grad():
        ascending = old.weight.abs().sum(0).argsort(stable=True)
        index = ascending[old.in_features - old.in_features // 2 :]
        new = IndexedLinear(index, old.out_features, bias=old.bias is not None)
        new.weight = nn.Parameter(old.weight[:, index])
        if old.bias is not None:
            new.bias = nn.Parameter(old.bias.clone())
    halved = copy.deepcopy(model)
    setattr(halved.head, str(halved.head.classifier_name), new.train(old.training))
    return halved
