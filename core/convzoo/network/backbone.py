"""A model cut down to its feature levels."""

# Annotations are evaluated here, as in ``model.py``, for torch.fx.

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from convzoo.errors import OptionError, shown
from convzoo.network.features import FeatureInfo, take_indices
from convzoo.network.model import ConvNet


class FeatureNet(nn.Module):
    """The part of a model that its feature levels need: ``forward`` gives a list of ``(N, C, H, W)`` tensors.

    Later stages and the head are left out, so their weights are neither held nor run.

    Attributes:
        classifier: name of the layer that the model has for its classes.
        feature_info: the model's :class:`FeatureInfo`, with ``out_indices``.
        spec: the model's spec.
        left_out: keys of the model's state dict that this one does not have.
    """

    def __init__(self, model: ConvNet, out_indices: int | Sequence[int] | None = None) -> None:
        super().__init__()
        levels, keys = model.feature_info, list(model.state_dict())
        taken = take_indices(len(levels), out_indices, "out_indices")
        self.spec = model.spec
        self.feature_info = FeatureInfo(levels, taken)
        self.default_cfg = model.default_cfg
        self.classifier = str(model.get_classifier(name_only=True))
        model.prune(max(taken))
        kept = set(model.state_dict())
        self.left_out = tuple(key for key in keys if key not in kept)
        self.body = model

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """timm's other name for ``default_cfg``."""
        return self.default_cfg

    @pretrained_cfg.setter
    def pretrained_cfg(self, cfg: dict[str, Any]) -> None:
        self.default_cfg = cfg

    @property
    def in_chans(self) -> int:
        """Channels of the images that it takes."""
        return self.spec.in_chans

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """As the model's; ``enable`` turns it on or off."""
        self.body.set_grad_checkpointing(enable)

    def freeze(self, stages: int = 0) -> None:
        """As the model's: the stem and the first ``stages`` stages learn no more."""
        self.body.freeze(stages)

    def unfreeze(self) -> None:
        """As the model's: the stem and all stages learn again."""
        self.body.unfreeze()

    def freeze_norms(self, enable: bool = True, affine: bool = False) -> None:
        """As the model's: if ``enable``, norms keep their statistics, and with ``affine`` weights and biases too."""
        self.body.freeze_norms(enable, affine)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """As the model's, of this network's names; with ``coarse`` one group for each stage."""
        return {name: pattern.replace("^", r"^body\.") for name, pattern in self.body.group_matcher(coarse).items()}

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """``(N, in_chans, H, W)`` to one tensor for each of ``out_indices``, in their order."""
        return self.body.forward_intermediates(x, list(self.feature_info.out_indices), intermediates_only=True)  # type: ignore[return-value]


class NamedLevels(nn.Module):
    """A backbone whose feature levels come in a dict, as torchvision's pyramids, detectors and segmenters want them.

    ``(N, C, H, W)`` to a dict of one ``(N, C', H', W')`` for each level, in their order.

    Args:
        backbone: what ``create_model(..., features_only=True)`` gives.
        names: of its levels; by default ``"0"``, ``"1"`` and so on, which torchvision's detectors go by.

    Raises:
        OptionError: there are not as many names as levels, or two are alike.
    """

    def __init__(self, backbone: FeatureNet, names: Sequence[str] | None = None) -> None:
        super().__init__()
        count = len(backbone.feature_info.out_indices)
        names = [*map(str, range(count))] if names is None else names
        if not isinstance(names, (list, tuple)) or len(names) != count or len(set(map(str, names))) != count:
            raise OptionError(f"names={shown(names)}: give a list of {count} different names, one for each level")
        self.names = tuple(map(str, names))
        self.backbone = backbone

    @property
    def feature_info(self) -> FeatureInfo:
        """The backbone's."""
        return self.backbone.feature_info

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, self.backbone(x), strict=True))
