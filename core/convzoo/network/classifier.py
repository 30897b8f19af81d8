"""The classifier of a network: where it is, how many classes it has, and another in its place."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from convzoo.errors import LARGEST, LifecycleWarning, OptionError, require_flag, require_int
from convzoo.network.place import require_memory
from convzoo.network.training import Trainable
from convzoo.spec.model import Model

ELSEWHERE = ("fc", "classifier", "linear", "last_linear", "output", "heads")
"""What other libraries call the layer that gives the classes, at the top of a network."""


def _outputs(classifier: nn.Module) -> int | None:
    """How many outputs a classifier has; 0 for none but the features, None if it does not say."""
    if isinstance(classifier, nn.Identity):
        return 0
    if isinstance(classifier, nn.Sequential):
        found = (_outputs(layer) for layer in reversed(classifier) if not isinstance(layer, nn.Identity))
        return next((number for number in found if number is not None), None)
    number = getattr(classifier, "out_features", None)
    return number if type(number) is int else None


def _place(model: nn.Module) -> str:
    """Where a network's classifier is, and what puts in another, in words."""
    name = getattr(model._modules.get("head"), "classifier_name", "fc")
    return f"the classifier is model.head.{name}, and model.reset_classifier(num_classes) puts in another"


def _require_place(model: nn.Module, name: str, value: Any) -> None:
    """Raise OptionError if ``model.name = value`` is meant for the classifier, which is not there.

    Args:
        model: a network.
        name: the attribute that is set.
        value: what it is set to.
    """
    if name in ELSEWHERE and isinstance(value, nn.Module):
        raise OptionError(f"model.{name} = {type(value).__name__}(...) would be used by nothing: {_place(model)}")
    if name == "head" and "head" in model._modules and isinstance(value, (nn.Linear, nn.Identity, nn.Sequential)):
        raise OptionError(f"model.head is the pool and the classifier, not {type(value).__name__}: {_place(model)}")


class Classified(Trainable):
    """A network whose ``head`` ends in a classifier, and whose number of classes is that of the classifier it has."""

    head: nn.Module
    num_features: int
    _cfg: dict[str, Any]

    @property
    def spec(self) -> Model:
        """What it was built from, with as many classes as its classifier has now."""
        self._notice_classifier()
        return self._spec

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier."""
        return self.spec.num_classes

    @property
    def head_hidden_size(self) -> int:
        """Features that the classifier is given."""
        return getattr(self.head, "in_features", self.num_features)

    def get_classifier(self, name_only: bool = False) -> nn.Module | str:
        """The layer that gives the classes, or with ``name_only`` its name."""
        name = str(self.head.classifier_name)
        return f"head.{name}" if require_flag("name_only", name_only) else self.head.get_submodule(name)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put in a new classifier, started as torch starts a linear layer, where the other parameters are.

        Args:
            num_classes: outputs; 0 for none.
            global_pool: another pooling; None keeps the present one, or takes the mean for classes if there is none.

        Raises:
            OptionError: either has an impossible value; nothing is changed then.
        """
        num_classes = require_int("num_classes", num_classes, at_least=0, at_most=LARGEST)
        require_memory(f"num_classes={num_classes}", num_classes * self.head_hidden_size, torch.get_default_device())
        like, before = next(self.parameters()), getattr(self.head, "global_pool", None)
        self.head.reset(num_classes, global_pool)  # type: ignore[operator]
        self.head.to(like.device, like.dtype)
        pool = getattr(self.head, "global_pool", before) if global_pool is None else global_pool
        options = {} if global_pool is None and pool == before else {"global_pool": pool}
        self._spec = self._spec.derived(num_classes=num_classes, head=self._spec.head.with_options(**options))
        self._cfg = {**self._cfg, "num_classes": num_classes}

    def _notice_classifier(self) -> None:
        """Keep the number of classes true where a classifier was put in by hand."""
        if not hasattr(self.head, "classifier_name"):
            return  # it is pruned
        classifier = self.get_classifier()
        number = _outputs(classifier)  # type: ignore[arg-type]
        if number is None:
            warnings.warn(
                f"the classifier of {self._spec.name} is {type(classifier).__name__}, which has no"
                f" out_features to say how many classes it has; num_classes stays {self._spec.num_classes}",
                LifecycleWarning,
                stacklevel=3,
            )
        elif number != self._spec.num_classes:
            self._spec = self._spec.derived(num_classes=number)
            self._cfg = {**self._cfg, "num_classes": number}

    def __setattr__(self, name: str, value: Any) -> None:
        _require_place(self, name, value)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in ELSEWHERE:
            raise AttributeError(f"a convzoo network has no attribute {name!r}: {_place(self)}")
        return super().__getattr__(name)
