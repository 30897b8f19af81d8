"""Where weights come from: what ``weights=`` is given, and what is known of it before it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convzoo.errors import OptionError, WeightsError, require_flag, shown
from convzoo.network.packages import Package, is_package, open_package
from convzoo.published.rows import choose, sources


@dataclass(frozen=True)
class Source:
    """Weights that are found, but not read.

    Attributes:
        what: a state dict or checkpoint, a file, or the URL of one.
        digest: what the file at a URL, or the one in its zip archive, must have: ``"sha1:..."`` or ``"sha256:..."``.
        num_classes: outputs of their classifier, or None if that is not known.
        input: the images that they are for, with timm's names.
        cache_dir: where the file at a URL is kept; None for torch.hub's folder.
    """

    what: Any
    digest: str = ""
    num_classes: int | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    cache_dir: str | os.PathLike[str] | None = None


def wanted(
    variant: str,
    weights: Any,
    pretrained: bool | None,
    package: Package | None,
    cache_dir: str | os.PathLike[str] | None,
) -> Source | None:
    """The weights that ``create_model`` is asked for, or None where the network starts as it does without.

    Raises:
        OptionError: they are asked for twice.
        WeightsError: nobody has published any, or they are not found.
    """
    if pretrained is not None:
        pretrained = require_flag("pretrained", pretrained)
    if weights is not None:
        if pretrained:
            raise OptionError(
                f"pretrained=True and weights={shown(weights)} are two ways to say one thing; leave one out"
            )
        return locate(weights, variant, cache_dir)
    if package is not None:
        return of_package(package) if pretrained is not False else None
    return locate(choose(variant).name, variant, cache_dir) if pretrained else None


def locate(weights: Any, variant: str, cache_dir: str | os.PathLike[str] | None = None) -> Source:
    """What ``weights`` are: ``"timm"`` or ``"timm:tag"`` and its kin, ``"hf-hub:..."``, ``"local-dir:..."``, or itself.

    Args:
        weights: any of these, or a file, a URL or a mapping.
        variant: canonical name of the model that they are for.
        cache_dir: where files that are fetched are kept; None for the folders of torch.hub and huggingface_hub.

    Raises:
        WeightsError: nothing of the kind is published, or the folder or repository has none.
    """
    if not isinstance(weights, str):
        return Source(weights)
    source, _, tag = weights.partition(":")
    if source in sources() and not os.path.exists(weights):
        row = choose(variant, source, tag)
        images = {key: tuple(value) if isinstance(value, list) else value for key, value in row.input.items()}
        told = {**images, "tag": row.tag, "source": row.source, "license": row.licence}
        if not is_package(row.address):
            return Source(row.address, row.digest, row.num_classes, told, cache_dir)
        return Source(of_package(open_package(row.address, cache_dir)).what, "", row.num_classes, told)
    if is_package(weights):
        return of_package(open_package(weights, cache_dir))
    return Source(weights, cache_dir=cache_dir)


def of_package(package: Package) -> Source:
    """The weights of a folder or repository."""
    if package.weights is None:
        raise WeightsError(
            f"{package.name} has no file of weights; one is called model.safetensors or pytorch_model.bin"
        )
    return Source(Path(package.weights), "", package.num_classes, package.input)
