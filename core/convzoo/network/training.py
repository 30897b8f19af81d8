"""What a network keeps to while it is trained: what is frozen, and whether its schedule was told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from convzoo.errors import LifecycleWarning, require_flag, require_int
from convzoo.network.untold import Sample, sample, untold
from convzoo.spec.model import Model

T = TypeVar("T", bound="Trainable")


class Trainable(nn.Module):
    """A network with a ``stem`` and ``stages``: freezing, and groups of parameters."""

    _spec: Model
    stem: nn.Module
    stages: nn.Sequential
    _frozen_stages: int | None = None
    _frozen_norms: bool = False
    _frozen_affine: bool = False
    _progress_told: bool = False
    _at_start: Sample | None = None
    _training_begun: bool = False

    def train(self: T, mode: bool = True) -> T:
        """As torch's, but for what is frozen, which stays in eval mode.

        Args:
            mode: training, or evaluation.

        Warns with a :class:`~convzoo.LifecycleWarning`, once, where a training goes over to evaluation and a layer
        with a schedule was never told how far the training is.
        """
        if not torch.compiler.is_compiling():
            self._watch(mode)
        super().train(mode)
        if mode:
            for module in self._held_in_eval():
                module.eval()
        return self

    def freeze(self, stages: int = 0) -> None:
        """Keep the stem and the first stages as they are: their parameters learn no more.

        They stay in eval mode, also after ``train()``, so that the statistics of their norms do not move and nothing
        in them is dropped. Freeze before the optimizer is made, and before ``DistributedDataParallel``. Another call
        takes the place of the former, so that a training may thaw stage by stage.

        Args:
            stages: how many stages beside the stem, from the first on.

        Raises:
            OptionError: there are not so many.
        """
        self._refreeze(_frozen_stages=require_int("stages", stages, at_least=0, at_most=len(self.stages)))

    def unfreeze(self) -> None:
        """Let the stem and all stages learn again."""
        self._refreeze(_frozen_stages=None)

    def freeze_norms(self, enable: bool = True, affine: bool = False) -> None:
        """Keep the statistics of all norms that have some, as small batches want it: they stay in eval mode.

        Args:
            enable: whether they are kept, or follow the training again.
            affine: keep their weights and biases too, as detection has it.
        """
        enable, affine = require_flag("enable", enable), require_flag("affine", affine)
        self._refreeze(_frozen_norms=enable, _frozen_affine=enable and affine)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Patterns that sort the parameters into groups from the input on, in timm's form.

        ``timm.optim.param_groups_layer_decay(model)`` gives learning rates by them. What no pattern matches, the head,
        comes last.

        Args:
            coarse: one group for each stage, not for each layer.
        """
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if require_flag("coarse", coarse) else _LAYER}

    def _frozen_parts(self) -> list[nn.Module]:
        return [] if self._frozen_stages is None else [self.stem, *self.stages[: self._frozen_stages]]

    def _norms(self) -> Iterator[nn.Module]:
        """Those with statistics."""
        return (module for module in self.modules() if getattr(module, "track_running_stats", False))

    def _held_in_eval(self) -> list[nn.Module]:
        return [*self._frozen_parts(), *(self._norms() if self._frozen_norms else ())]

    def _refreeze(self, **state: Any) -> None:
        """Thaw what is frozen, and freeze what is to be: a part may be so for two reasons."""
        for requires_grad in (True, False):
            for module in [*self._frozen_parts(), *(self._norms() if self._frozen_affine else ())]:
                module.requires_grad_(requires_grad)
            if requires_grad:
                vars(self).update(state)
        super().train(self.training)
        if self.training:
            for module in self._held_in_eval():
                module.eval()

    def _watch(self, mode: bool) -> None:
        if self._progress_told:
            return
        if mode and not self._training_begun:
            self._training_begun, self._at_start = True, sample(self)
        elif not mode:
            before, self._training_begun, self._at_start = self._at_start, False, None
            if before is not None and (waiting := untold(self, before)):
                self._progress_told = True  # it is said once
                warnings.warn(
                    f"{self._spec.name} was trained, and was not told how far the training is, which some of its layers"
                    f" follow: {waiting}. Train with convzoo.follow(model, criterion, optimizer, total_steps) as the"
                    " criterion, or call convzoo.set_progress(model, progress) before each step",
                    LifecycleWarning,
                    stacklevel=4,
                )

    def __getstate__(self) -> dict[str, Any]:
        # A copy, such as a moving average, is not what is trained.
        return {**self.__dict__, "_training_begun": False, "_at_start": None}


_LAYER = r"^stages\.(\d+)\.(\d+)"


def watch_again(model: nn.Module, keys: Any) -> None:
    """Hook of a network for when weights are loaded into it: these are where its training begins.

    Args:
        model: the network.
        keys: torch's report of the loading.
    """
    if isinstance(model, Trainable) and model._training_begun:
        model._at_start = sample(model)
