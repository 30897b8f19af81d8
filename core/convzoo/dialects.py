"""The names that others have for the weights of residual networks, for plugins that contribute variants.

This module imports no torch. A plugin whose networks have parts of its own puts the names of those before these.
"""

from __future__ import annotations

import functools

from convzoo.errors import require_choice
from convzoo.spec.references import Dialect

Pairs = tuple[tuple[str, str], ...]
"""Patterns and what takes their place, as :class:`~convzoo.Model` has them in ``keys``."""

TORCHVISION_KEYS = (
    (r"^stem\.conv\.", "conv1."),
    (r"^stem\.norm\.", "bn1."),
    (r"^stem\.pool\.", "maxpool."),
    (r"^stages\.0\.", "layer1."),
    (r"^stages\.1\.", "layer2."),
    (r"^stages\.2\.", "layer3."),
    (r"^stages\.3\.", "layer4."),
    (r"\.branch\.conv([12])\.conv\.", r".conv\1."),
    (r"\.branch\.conv([12])\.norm\.", r".bn\1."),
    (r"\.branch\.norm(\d)\.", r".bn\1."),
    (r"\.branch\.attention\.", ".se."),
    (r"\.branch\.", "."),
    (r"\.shortcut\.", ".downsample."),
    (r"^head\.fc\.", "fc."),
)
"""torchvision's and timm's names of what residual networks have."""

PYTORCHCV_STEMS = {
    "conv": (
        (r"^stem\.conv\.", "features.init_block.conv.conv."),
        (r"^stem\.norm\.", "features.init_block.conv.bn."),
    ),
    "deep": (
        (r"^stem\.conv\.0\.", "features.init_block.conv1.conv."),
        (r"^stem\.conv\.1\.", "features.init_block.conv1.bn."),
        (r"^stem\.conv\.3\.", "features.init_block.conv2.conv."),
        (r"^stem\.conv\.4\.", "features.init_block.conv2.bn."),
        (r"^stem\.conv\.6\.", "features.init_block.conv3.conv."),
        (r"^stem\.norm\.", "features.init_block.conv3.bn."),
    ),
    "cifar": (
        (r"^stem\.conv\.", "features.init_block.conv."),
        (r"^stem\.norm\.", "features.init_block.bn."),
    ),
    "bare": ((r"^stem\.conv\.", "features.init_block."),),
}
"""pytorchcv's names of stems; ``"bare"`` is a convolution without a norm."""
PYTORCHCV_UNIT = (r"^stages\.(\d+)\.(\d+)\.", "features.stage{1+1}.unit{2+1}.")
"""pytorchcv counts stages and the layers in them from 1."""
PYTORCHCV_HEAD = (r"^head\.fc\.", "output.")
"""pytorchcv's name of a classifier."""
PYTORCHCV_OUTPUT = (r"^head\.fc\.", "output.fc.")
"""pytorchcv's name of a classifier behind a dropout."""
PYTORCHCV_BLOCK = (
    PYTORCHCV_UNIT,
    (r"\.branch\.conv(\d)\.conv\.", ".body.conv{1}.conv."),
    (r"\.branch\.conv(\d)\.norm\.", ".body.conv{1}.bn."),
    (r"\.branch\.conv(\d)\.", ".body.conv{1}.conv."),
    (r"\.branch\.norm(\d)\.", ".body.conv{1}.bn."),
    (r"\.branch\.attention\.fc(\d)\.", ".se.conv{1}."),
    PYTORCHCV_HEAD,
)
PYTORCHCV_SHORTCUTS = {
    False: (
        (r"\.shortcut\.0\.", ".identity_conv.conv."),
        (r"\.shortcut\.1\.", ".identity_conv.bn."),
    ),
    True: (
        (r"\.shortcut\.1\.", ".identity_block.conv.conv."),
        (r"\.shortcut\.2\.", ".identity_block.conv.bn."),
    ),
}
"""pytorchcv's names of projection shortcuts, by whether they average before they project."""

MMPRETRAIN_STEMS = {
    "conv": (),
    "cifar": (),
    "deep": (
        (r"^stem\.conv\.0\.", "backbone.stem.0.conv."),
        (r"^stem\.conv\.1\.", "backbone.stem.0.bn."),
        (r"^stem\.conv\.3\.", "backbone.stem.1.conv."),
        (r"^stem\.conv\.4\.", "backbone.stem.1.bn."),
        (r"^stem\.conv\.6\.", "backbone.stem.2.conv."),
        (r"^stem\.norm\.", "backbone.stem.2.bn."),
    ),
}
"""mmpretrain's names of stems, where they are not torchvision's behind ``backbone.``."""
BACKBONE = ((r"^(?!head\.|backbone\.)", "backbone."),)
"""What stands before mmpretrain's names of all but the classifier."""


def pytorchcv(stem: str, *, before: Pairs = (), average: bool = False) -> Dialect:
    """pytorchcv's names: ``features.stage1.unit1.body.conv1.conv.weight``.

    Args:
        stem: one of :data:`PYTORCHCV_STEMS`.
        before: the names of parts that residual networks do not share.
        average: whether projection shortcuts average before they project.
    """
    stems = PYTORCHCV_STEMS[require_choice("stem", stem, PYTORCHCV_STEMS)]
    return Dialect("pytorchcv", (*before, *stems, *PYTORCHCV_SHORTCUTS[average], *PYTORCHCV_BLOCK))


def mmpretrain(stem: str, *, before: Pairs = ()) -> Dialect:
    """mmpretrain's names: torchvision's behind ``backbone.``, and ``head.fc``.

    Args:
        stem: one of :data:`MMPRETRAIN_STEMS`.
        before: the names of parts that residual networks do not share.
    """
    stems = MMPRETRAIN_STEMS[require_choice("stem", stem, MMPRETRAIN_STEMS)]
    body = [pair for pair in TORCHVISION_KEYS if not pair[0].startswith(r"^head")]
    return Dialect("mmpretrain", (*before, *stems, *body, *BACKBONE))


def of_imagenet(*, deep: bool, average: bool, before: Pairs = ()) -> tuple[Dialect, ...]:
    """Who else has residual networks for ImageNet: pytorchcv and mmpretrain.

    Args:
        deep: whether the stem has three convolutions.
        average: whether projection shortcuts average before they project.
        before: pytorchcv's names of parts that residual networks do not share.
    """
    return _of_imagenet("deep" if deep else "conv", average, before)


@functools.cache
def _of_imagenet(stem: str, average: bool, before: Pairs) -> tuple[Dialect, ...]:
    return pytorchcv(stem, before=before, average=average), mmpretrain(stem)


def of_cifar(*, before: Pairs = ()) -> tuple[Dialect, ...]:
    """Who else has residual networks for CIFAR: pytorchcv, mmpretrain, and those whose names are torchvision's.

    Kuangliu's pytorch-cifar calls the projection ``shortcut`` and the classifier ``linear``.

    Args:
        before: pytorchcv's names of parts that residual networks do not share.
    """
    return _of_cifar(before)


@functools.cache
def _of_cifar(before: Pairs) -> tuple[Dialect, ...]:
    kuangliu = [
        (pattern, name) for pattern, name in TORCHVISION_KEYS if "shortcut" not in pattern and "head" not in pattern
    ]
    return (
        pytorchcv("cifar", before=before),
        Dialect("torchvision", TORCHVISION_KEYS),
        mmpretrain("cifar"),
        Dialect("kuangliu", (*kuangliu, (r"^head\.fc\.", "linear."))),
    )
