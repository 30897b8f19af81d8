"""The published weights of each variant, a row each, and the input that a variant is meant for. This imports no torch.

``timm.json``, ``torchvision.json`` and ``pytorchcv.json`` are written by ``python -m convzoo.cli.published`` from the
packages that are installed; ``others.json`` is kept by hand, with where each row was read.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convzoo.errors import WeightsError, did_you_mean, first_of

FILES = ("timm", "torchvision", "pytorchcv", "others")
"""The files of rows; of what several have, the first is what ``pretrained=True`` takes."""


@dataclass(frozen=True)
class Published:
    """One set of weights that somebody has published for a variant.

    Attributes:
        source: who: ``"timm"``, ``"torchvision"``, ``"pytorchcv"``, ``"mmpretrain"`` or ``"pytorch-cifar-models"``.
        tag: which of theirs.
        address: a URL, or ``"hf-hub:owner/name"``.
        licence: of the weights, as their source has it; empty if it says nothing.
        num_classes: outputs of their classifier.
        digest: ``"sha1:..."`` or ``"sha256:..."`` of the file, or of the one in the zip archive; it may be cut short.
        top1, top5: accuracy in percent, as published; None if it was not.
        said: where the accuracy was said, and on which images.
        input: the images that they are for, with timm's names: ``input_size``, ``crop_pct``, ``interpolation``,
            ``mean``, ``std``, and, where testing is better at another size, ``test_input_size`` and ``test_crop_pct``.
    """

    source: str
    tag: str
    address: str
    licence: str
    num_classes: int
    digest: str = ""
    top1: float | None = None
    top5: float | None = None
    said: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What ``weights=`` calls it."""
        return f"{self.source}:{self.tag}"


@functools.cache
def _data() -> list[dict[str, Any]]:
    folder = importlib.resources.files(__package__)
    return [json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8")) for name in FILES]


def published(variant: str) -> list[Published]:
    """What is published for a variant, by its canonical name; what ``pretrained=True`` takes is the first."""
    return [Published(**row) for data in _data() for row in data["rows"].get(variant, ())]


def sources() -> list[str]:
    """Everybody who has published weights for one of the variants."""
    return list(dict.fromkeys(row["source"] for data in _data() for rows in data["rows"].values() for row in rows))


def input_of(variant: str) -> dict[str, Any]:
    """What timm says of the input of its network of a variant; empty if it has none."""
    found: dict[str, Any] = next((data["inputs"][variant] for data in _data() if variant in data.get("inputs", ())), {})
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}


def choose(variant: str, source: str = "", tag: str = "") -> Published:
    """The weights that ``pretrained=True``, or ``weights="source:tag"``, means.

    Args:
        variant: by its canonical name.
        source, tag: whose and which; the first that there are without.

    Raises:
        WeightsError: nothing of the kind is published; the message says what is.
    """
    rows = published(variant)
    if not rows:
        raise WeightsError(
            f"nobody is known to have published weights for {variant}. `convzoo list --pretrained` shows for which"
            " variants there are some; weights= takes a file, a URL, 'hf-hub:owner/name' or 'local-dir:folder'"
        )
    of_source = [row for row in rows if source in ("", row.source)]
    found = next((row for row in of_source if tag in ("", row.tag)), None)
    if found is None:
        names = [row.name for row in rows]
        asked = ":".join(filter(None, (source, tag)))
        raise WeightsError(
            f"no weights {asked!r} are known for {variant}.{did_you_mean(asked, names)} There are"
            f" {', '.join(first_of(names, 24))}"
        )
    return found
