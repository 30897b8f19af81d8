"""Learned group convolutions: Huang et al., CondenseNet, CVPR 2018, section 4."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from convzoo import LifecycleError, OptionError
from convzoo.deploying.convolution import FusedConv2d
from convzoo.layers import gather_channels, require_groups, require_positive, shuffle_channels

_FLOOR = 1e-6
"""Below this square the lasso is flat, as in the authors' code, so that its gradient stays finite."""
_MANY = 192
"""Channels from which taking out those of a group is faster than multiplying by zeros."""


class LearnedGroupConv(nn.Conv2d):
    """A 1x1 convolution that becomes a grouped one while it trains, and learns which inputs each group reads.

    ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``. Output ``o`` belongs to group ``o % groups``. The first
    half of the training has ``condense_factor - 1`` steps, the last of them at its end; each takes from every group
    the ``in_channels / condense_factor`` inputs that matter least to it at that moment, by the sum of the absolute
    weights. What was taken stays away: its weights are multiplied by 0.

    Args:
        in_channels, out_channels: channels before and after.
        groups: groups that are learned; divides both.
        condense_factor: each group ends with ``in_channels / condense_factor`` inputs, which must be whole; 1 takes
            nothing away.

    Raises:
        OptionError: an impossible size.
    """

    kept: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 4, condense_factor: int = 4) -> None:
        require_positive("in_channels", in_channels)
        require_positive("out_channels", out_channels)
        require_groups(groups, in_channels, out_channels, "groups_1x1")
        require_positive("condense_factor", condense_factor)
        if in_channels % condense_factor:
            raise OptionError(f"condense_factor {condense_factor} does not divide the {in_channels} channels in")
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.learned_groups = groups
        self.condense_factor = condense_factor
        self.register_buffer("kept", torch.ones(groups, in_channels, dtype=torch.bool))
        self._steps_done = 0

    @property
    def share(self) -> int:
        """Inputs that one step takes from each group, and that the last one leaves."""
        return self.in_channels // self.condense_factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self._masked())

    def _masked(self) -> torch.Tensor:
        # The buffer itself is multiplied by, so that the graphs of torch.fx read it, and not a copy of that day.
        return (self._by_group(self.weight) * self.kept).flatten(0, 1)[:, :, None, None]

    def _by_group(self, weight: torch.Tensor) -> torch.Tensor:
        """``(out_channels, in_channels, 1, 1)`` as ``(out_channels / groups, groups, in_channels)``."""
        return weight.flatten(1).unflatten(0, (-1, self.learned_groups))

    def set_progress(self, progress: float) -> None:
        """Take every step that is due at ``progress``, the share of training done; going back does nothing."""
        steps = self.condense_factor - 1
        due = sum(2 * progress >= step / steps for step in range(1, steps + 1))
        if due <= self._steps_done:  # known without asking the device
            return
        with torch.no_grad():
            weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
            importance = self._by_group(weight).abs().sum(0).masked_fill(~self.kept, -1)
            ascending = importance.argsort(dim=1, stable=True)
            # A mask that is already further than this stays as it is: it has more inputs of importance -1 than are due.
            self.kept.scatter_(1, ascending[:, : due * self.share], False)
        self._steps_done = due

    def penalty(self) -> torch.Tensor:
        """The group lasso of section 4.3: over groups and inputs, the root of the squared weights between the two.

        It is 0 once the last step is taken.
        """
        squares = self._by_group(self._masked()).square().sum(0)
        lasso = squares.clamp(min=_FLOOR).sqrt().sum()
        return torch.where(self._removed() < self.in_channels - self.share, lasso, torch.zeros_like(lasso))

    def deploy(self) -> nn.Module:
        """A convolution that stores the inputs that each group has kept, and nothing of the others.

        Raises:
            LifecycleError: steps are still to come.
        """
        removed = int(self._removed())
        if removed < self.in_channels - self.share:
            raise LifecycleError(
                f"{removed // self.share} of {self.condense_factor - 1} condensing steps are taken; the last one is"
                " due at progress 0.5: call convzoo.set_progress(model, progress) as training goes on, and deploy then"
            )
        return CondensedConv(self)

    def _removed(self) -> torch.Tensor:
        """Inputs that each group has lost; all groups lose equally many."""
        return self.in_channels - self.kept[0].sum()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._steps_done = 0  # whatever was loaded decides

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, learned_groups={self.learned_groups}, condense_factor={self.condense_factor}"


class CondensedConv(FusedConv2d):
    """What a :class:`LearnedGroupConv` has become: ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``.

    Output ``o`` reads the inputs ``index[o % groups]`` alone, and its row of ``weight``, ``(out_channels, inputs of a
    group, 1, 1)``, is for them. On a processor it takes the channels of each group out of a map in which each channel
    lies by itself. In channels_last that would be slow, and it multiplies by zeros where it reads nothing.

    Args:
        learned: whose steps are all taken.

    Attributes:
        reads_channels: whether it is faster where each channel lies by itself: with so many that the multiplications
            that are saved are more than the outputs that are put back into channels_last.
    """

    index: torch.Tensor

    def __init__(self, learned: LearnedGroupConv) -> None:
        super().__init__(learned)
        self.reads_channels = self.in_channels >= _MANY
        self.register_buffer("index", learned.kept.nonzero()[:, 1].clone().view(learned.learned_groups, -1))
        self.weight = nn.Parameter(learned.weight.detach().flatten(1).gather(1, self._columns())[:, :, None, None])

    def _columns(self) -> torch.Tensor:
        """For each output the inputs that it reads."""
        return self.index.repeat(self.out_channels // len(self.index), 1)

    def kernel(self) -> torch.Tensor:
        zeros = self.weight.new_zeros(self.out_channels, self.in_channels)
        return zeros.scatter(1, self._columns(), self.weight.flatten(1))[:, :, None, None]

    def by_input(self, values: torch.Tensor) -> torch.Tensor:
        return values[self._columns()]

    def _at_once(self, x: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        channels = x.movedim(1, 0)
        if other is not None or not channels.is_contiguous():
            return super()._at_once(x, other)
        read = channels.flatten(1).index_select(0, self.index.flatten()).unflatten(0, self.index.shape)
        weight = self._laid_out("groups", x)
        if self.bias is None:
            y = torch.bmm(weight, read)
        else:
            y = torch.baddbmm(self.bias.view(-1, len(self.index), 1).transpose(0, 1), weight, read)
        if self.act is not None:
            y = y.relu_() if self._following[0] == "relu" else self.act(y)
        y = y.unflatten(2, channels.shape[1:]).permute(2, 3, 4, 1, 0).contiguous()  # output o is of group o % groups
        return y.flatten(3).permute(0, 3, 1, 2)

    def _made(self, form: str, x: torch.Tensor) -> torch.Tensor:
        if form != "groups":
            return super()._made(form, x)
        return self.weight.detach().flatten(1).unflatten(0, (-1, len(self.index))).transpose(0, 1).contiguous()

    def plainly(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():  # so do the engines that a graph is exported to
            return F.conv2d(x, self.kernel(), self.bias)
        groups = len(self.index)
        by_group = self.weight.unflatten(0, (-1, groups)).transpose(0, 1).flatten(0, 1)
        bias = None if self.bias is None else self.bias.view(-1, groups).t().flatten()
        return shuffle_channels(
            F.conv2d(gather_channels(x, self.index.flatten()), by_group, bias, groups=groups), groups
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, groups of {self.index.shape[1]} inputs"
