"""Where the classifier is: for those who replace it by hand, and for those who look for it elsewhere."""

from __future__ import annotations

from typing import Any

from torch import nn

from convzoo.errors import OptionError

ELSEWHERE = ("fc", "classifier", "linear", "last_linear", "output", "heads")
"""What other libraries call the layer that gives the classes, at the top of a network."""


def outputs(classifier: nn.Module) -> int | None:
    """How many outputs a classifier has; 0 for none but the features, None if it does not say."""
    if isinstance(classifier, nn.Identity):
        return 0
    if isinstance(classifier, nn.Sequential):
        found = (outputs(layer) for layer in reversed(classifier) if not isinstance(layer, nn.Identity))
        return next((number for number in found if number is not None), None)
    number = getattr(classifier, "out_features", None)
    return number if type(number) is int else None


def place(model: nn.Module) -> str:
    """Where a network's classifier is, and what puts in another, in words."""
    name = getattr(model._modules.get("head"), "classifier_name", "fc")
    return f"the classifier is model.head.{name}, and model.reset_classifier(num_classes) puts in another"


def require_place(model: nn.Module, name: str, value: Any) -> None:
    """Raise OptionError if ``model.name = value`` is meant for the classifier, which is not there.

    Args:
        model: a network.
        name: the attribute that is set.
        value: what it is set to.
    """
    if name in ELSEWHERE and isinstance(value, nn.Module):
        raise OptionError(f"model.{name} = {type(value).__name__}(...) would be used by nothing: {place(model)}")
    if name == "head" and "head" in model._modules and isinstance(value, (nn.Linear, nn.Identity, nn.Sequential)):
        raise OptionError(f"model.head is the pool and the classifier, not {type(value).__name__}: {place(model)}")
