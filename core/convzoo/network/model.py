"""The one model class: whatever the builder folded, speaking timm's dialect."""

# Annotations are evaluated here: torch.fx writes those of ``forward`` into its graphs, where TorchScript reads them.

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from convzoo.errors import require_choice, require_flag
from convzoo.network.checkpointing import joined, recomputed
from convzoo.network.classifier import Classified
from convzoo.network.description import description
from convzoo.network.features import FeatureInfo, take_indices
from convzoo.network.training import watch_again
from convzoo.spec.model import Model


class ConvNet(Classified):
    """A stem, stages of blocks, and a head.

    Attributes:
        spec: what it was built from; ``convzoo.build(model.spec)`` builds another.
        stem, stages, head: the parts; ``stages`` is a Sequential of Sequentials.
        feature_info: the feature levels, a :class:`~convzoo.network.features.FeatureInfo`.
        num_features: channels of the last feature map.
        head_hidden_size: features that the classifier is given.
        num_classes: outputs of the classifier; 0 means the pooled features.
        default_cfg: timm's description of the input: size, mean, deviation, crop, interpolation, names of the first and
            last layers. It is that of the weights, if they are published ones; else timm's for its network of this
            name; else that of the images that the variant is meant for.
        deployed: whether :func:`convzoo.deploy` made it.
        rewritten: whether that has rewritten it, or has only taken its layers' own forms.
    """

    def __init__(
        self,
        spec: Model,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        levels: Sequence[dict[str, Any]],
        head: nn.Module,
    ) -> None:
        super().__init__()
        self._spec = spec
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.head = head
        self.grad_checkpointing = False
        own = {"num_chs": stem.out_channels, "reduction": stem.reduction}
        tap = getattr(stem, "feature_info", own)
        self.feature_info = FeatureInfo([{**tap, "module": "stem"}, *levels])
        self.num_features: int = levels[-1]["num_chs"]
        self.deployed = self.rewritten = False
        self._cfg = description(self, spec, levels[-1]["reduction"], {}, {})
        self.register_load_state_dict_post_hook(watch_again)

    @property
    def default_cfg(self) -> dict[str, Any]:
        """timm's description of the input, with as many classes as its classifier has now."""
        self._notice_classifier()
        return self._cfg

    @default_cfg.setter
    def default_cfg(self, cfg: dict[str, Any]) -> None:
        self._cfg = cfg

    def tell(self, told: Mapping[str, Any]) -> None:
        """Put what is known of the weights into :attr:`default_cfg`.

        Args:
            told: timm's fields of the images that they are for, their licence, tag and source.
        """
        reduction = self.feature_info[-1]["reduction"]
        self._cfg = description(self, self._spec, reduction, told, self.default_cfg)

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """timm's other name for :attr:`default_cfg`."""
        return self.default_cfg

    @pretrained_cfg.setter
    def pretrained_cfg(self, cfg: dict[str, Any]) -> None:
        self.default_cfg = cfg

    @property
    def in_chans(self) -> int:
        """Channels of the images that it takes."""
        return self._spec.in_chans

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` of ``(N, in_chans, H, W)`` to the last feature map, ``(N, num_features, H', W')``."""
        pieces = [self.stem(x)]
        for stage in self.stages:
            pieces = self._run(stage, pieces)
        return joined(pieces)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """The last feature map ``x`` to ``(N, num_classes)``, or with ``pre_logits`` to ``(N, head_hidden_size)``."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in_chans, H, W)`` to ``(N, num_classes)``."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> torch.Tensor | list[torch.Tensor] | tuple[torch.Tensor, list[torch.Tensor]]:
        """The last feature map and the feature levels ``indices``.

        Args:
            x: ``(N, in_chans, H, W)``.
            indices: levels as in :attr:`feature_info`; None for all, an int for the last n.
            norm: accepted for timm's sake; no level here has a norm of its own.
            stop_early: stop after the last level asked for, whose map is then given as the last.
            output_fmt: only ``"NCHW"``.
            intermediates_only: give the list alone, and stop early.

        Raises:
            OptionError: a level does not exist, or another format is asked for.
        """
        require_choice("output_fmt", output_fmt, ("NCHW",))
        for name, flag in (("norm", norm), ("stop_early", stop_early), ("intermediates_only", intermediates_only)):
            require_flag(name, flag)
        wanted = take_indices(len(self.feature_info), indices)
        if tapped := getattr(self.stem, "forward_intermediates", None):
            x, taps = tapped(x)
            levels = {0: taps[-1]}
        else:
            x = self.stem(x)
            levels = {0: x}
        pieces = [x]
        last = max(wanted) if stop_early or intermediates_only else len(self.stages)
        for number, stage in enumerate(self.stages[:last], start=1):
            pieces = self._run(stage, pieces)
            if number in wanted:
                levels[number] = joined(pieces)
        chosen = [levels[i] for i in wanted]
        return chosen if intermediates_only else (joined(pieces), chosen)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """If ``enable``, keep little of a training step for its backward pass, and compute the rest again.

        Of most blocks the input is kept. Where blocks append to their input, that is not kept again for each of them,
        and their convolutions are not computed again: concatenations are, and the norms and activations of what they
        give.

        Gradients are those of a plain step, bit for bit, and norms count a batch once. Only where blocks append to a
        map that is a feature level as well, its gradients are summed in another order.
        """
        self.grad_checkpointing = require_flag("enable", enable)

    def prune(self, last_level: int) -> None:
        """Take out the stages after the feature level ``last_level``, and the head."""
        self.stages = self.stages[:last_level]
        self._modules["head"] = nn.Identity()

    def _run(self, stage: nn.Module, pieces: list[torch.Tensor]) -> list[torch.Tensor]:
        # A deployed network is for inference, and its stages may be more than their layers in turn.
        if not (self.grad_checkpointing and self.training and torch.is_grad_enabled()) or self.deployed:
            return [stage(joined(pieces))]
        return recomputed(stage.children(), pieces)
