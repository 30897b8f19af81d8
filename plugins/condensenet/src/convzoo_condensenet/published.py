"""The authors' files, as values of a network in training.

In a converted file each learned convolution has the inputs of its groups side by side, its norm too, and the classifier
reads half of the features. The network in training that computes the same has a mask instead of an index, and zeros
where the classifier reads nothing: ``convzoo.deploy`` and ``halve_classifier`` make of it what the file was.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

NORM = ("weight", "bias", "running_mean", "running_var")
NEUTRAL = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
"""What a norm has for channels that no group reads, and that nothing therefore depends on."""

Values = Mapping[str, torch.Tensor]


def from_masks(values: Values, names: Mapping[str, str], wanted: Values) -> dict[str, torch.Tensor]:
    """The values of a file of a network in training, with each mask as the inputs that each group keeps.

    Args:
        values: the file's, by its names; masks are ``(out_channels, in_channels, 1, 1)``, and output ``o`` belongs to
            group ``o % groups``.
        names: the file's names by the network's keys.
        wanted: the network's state dict; what is kept is ``(groups, in_channels)``.
    """
    made = {name: value for name, value in values.items() if not name.endswith(("._count", "._stage"))}
    for key, name in names.items():
        if key.endswith(".kept") and name in made and made[name].dim() == 4:
            made[name] = made[name][: len(wanted[key]), :, 0, 0] != 0
    return made


def from_indices(values: Values, names: Mapping[str, str], wanted: Values) -> dict[str, torch.Tensor]:
    """The values of a converted file, as those of a network in training.

    Args:
        values: the file's, by its names; an index has the inputs of the first group, then those of the next.
        names: the file's names by the network's keys.
        wanted: the network's state dict.

    Raises:
        ValueError: a channel that several groups read has several norms.
    """
    made = dict(values)
    for key, name in names.items():
        if key.endswith(".conv1.kept") and name in made and made[name].dim() == 1:
            index, layer = made[name].long(), key.removesuffix("conv1.kept")
            weight = names[f"{layer}conv1.weight"]
            if weight not in made:
                continue
            made[name], made[weight] = _spread(index, made[weight], wanted[key])
            for each in NORM:
                norm = names.get(f"{layer}norm1.{each}", "")
                if norm in made and len(made[norm]) == len(index):
                    whole = made[norm].new_full((wanted[key].shape[1],), NEUTRAL[each])
                    whole = whole.index_copy(0, index, made[norm])
                    if not torch.equal(whole[index], made[norm]):
                        raise ValueError(f"{norm} has two values for one channel, which no conversion makes")
                    made[norm] = whole
        elif key.endswith("head.fc.weight") and name in made:
            chosen = made.pop(f"{name.removesuffix('linear.weight')}index", None)
            if chosen is not None and made[name].shape[1] == len(chosen):
                features = wanted[key].shape[1] if key in wanted else int(chosen.max()) + 1
                whole = made[name].new_zeros(len(made[name]), features)
                made[name] = whole.index_copy(1, chosen.long(), made[name])
    return made


def _spread(index: torch.Tensor, weight: torch.Tensor, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each group keeps, and the weight ``(out, in, 1, 1)`` of a convolution that reads all inputs."""
    groups, inputs = kept.shape
    by_group = index.view(groups, -1)
    mask = torch.zeros(groups, inputs, dtype=torch.bool).scatter(1, by_group, True)
    width = len(weight) // groups
    rows = weight.new_zeros(groups, width, inputs)
    rows = rows.scatter(2, by_group[:, None].expand(-1, width, -1), weight.view(groups, width, -1))
    return mask, rows.transpose(0, 1).reshape(len(weight), inputs, 1, 1)  # output o belongs to group o % groups
