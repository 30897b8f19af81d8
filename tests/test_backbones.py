"""torchvision's detectors and segmenters train on the feature levels of every family, which are picked by stride."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

import convzoo
from convzoo import NamedLevels, OptionError
from convzoo.testing.numerics import jitter_norms

from .small import smallest_of_families

WIDTH = 32
"""Channels of the pyramids here."""
SIZE = 64
SMALL = 1_000_000
"""Parameters from which on a family is left to `make test-large`."""


def body(name: str, count: int, **options: Any) -> Any:
    """The last ``count`` strides that a network has."""
    levels = convzoo.create_model(name, device="meta").feature_info
    strides = sorted({level["reduction"] for level in levels})[-count:]
    return convzoo.create_model(name, features_only=True, out_strides=strides, **options)


def pyramid(name: str, count: int, extra: Any) -> nn.Module:
    """Feature levels and a pyramid on them, as torchvision's detectors want them."""
    levels = body(name, count)
    top = FeaturePyramidNetwork(levels.feature_info.channels(), WIDTH, extra)
    backbone = nn.Sequential(NamedLevels(levels), top)
    backbone.out_channels = WIDTH  # type: ignore[assignment]
    return backbone


def anchors(levels: int, *ratios: float) -> AnchorGenerator:
    return AnchorGenerator(tuple((8 * 2**level,) for level in range(levels)), (ratios,) * levels)


def levels_of(backbone: nn.Module) -> int:
    with torch.no_grad():
        return len(backbone.eval()(torch.zeros(1, 3, SIZE, SIZE)))


SIZES = {"min_size": SIZE, "max_size": SIZE}


def faster_rcnn(name: str) -> nn.Module:
    backbone = pyramid(name, 3, LastLevelMaxPool())
    return FasterRCNN(
        backbone, num_classes=3, rpn_anchor_generator=anchors(levels_of(backbone), 0.5, 1.0, 2.0), **SIZES
    )


def retinanet(name: str) -> nn.Module:
    backbone = pyramid(name, 2, LastLevelP6P7(WIDTH, WIDTH))
    return RetinaNet(backbone, num_classes=3, anchor_generator=anchors(levels_of(backbone), 0.5, 1.0, 2.0), **SIZES)


def fcos(name: str) -> nn.Module:
    backbone = pyramid(name, 2, LastLevelP6P7(WIDTH, WIDTH))
    return FCOS(backbone, num_classes=3, anchor_generator=anchors(levels_of(backbone), 1.0), **SIZES)


DETECTORS: dict[str, Callable[[str], nn.Module]] = {"FasterRCNN": faster_rcnn, "RetinaNet": retinanet, "FCOS": fcos}
FAMILIES = [*smallest_of_families().values(), "condensenet74_g4"]
"""CondenseNet for ImageNet has two levels of stride 2."""


def losses(model: nn.Module) -> torch.Tensor:
    images = [torch.rand(3, SIZE, SIZE) for _ in range(2)]
    boxes = torch.tensor([[4.0, 4.0, 40.0, 36.0]])
    targets = [{"boxes": boxes, "labels": torch.tensor([1])} for _ in images]
    return sum(model.train()(images, targets).values())  # type: ignore[no-any-return]


def assert_it_learns(model: nn.Module, loss: torch.Tensor) -> None:
    assert loss.isfinite()
    loss.backward()
    bodies = [module for module in model.modules() if isinstance(module, NamedLevels)]
    weights = [weight for module in bodies for weight in module.parameters()]
    assert weights
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)


def cases() -> list[Any]:
    """One detector for each family in turn in every run where it is small, and all of them in the large tests."""
    found = []
    for number, name in enumerate(FAMILIES):
        for place, detector in enumerate(DETECTORS):
            small = (convzoo.model_info(name).spec.params or 0) < SMALL or name == "condensenet74_g4"
            always = small and place == number % len(DETECTORS)
            found.append(pytest.param(name, detector, marks=() if always else pytest.mark.large))
    return found


@pytest.mark.tool("{detector}")
@pytest.mark.parametrize(("name", "detector"), cases())
def test_a_detector_of_torchvision_trains_on_a_network_of_each_family(
    name: str, detector: str, same_weights: None
) -> None:
    model = DETECTORS[detector](name)
    assert_it_learns(model, losses(model))


@pytest.mark.tool("DeepLabV3")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "resnet20" else pytest.mark.large) for name in FAMILIES]
)
def test_deeplab_of_torchvision_trains_on_a_network_of_each_family(name: str, same_weights: None) -> None:
    before = convzoo.create_model(name, device="meta").feature_info[-2]
    levels = convzoo.create_model(name, features_only=True, out_indices=2, output_stride=before["reduction"])
    assert levels.feature_info.reduction() == [before["reduction"]] * 2
    channels = levels.feature_info.channels()
    backbone = NamedLevels(levels, ("aux", "out"))
    model = DeepLabV3(backbone, DeepLabHead(channels[1], 3, (2, 4, 6)), FCNHead(channels[0], 3)).train()
    images, classes = torch.rand(2, 3, SIZE, SIZE), torch.randint(3, (2, SIZE, SIZE))
    out = model(images)
    assert out["out"].shape == (2, 3, SIZE, SIZE)
    assert_it_learns(model, F.cross_entropy(out["out"], classes) + F.cross_entropy(out["aux"], classes))


@pytest.mark.tool("Grad-CAM")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if (convzoo.model_info(name).spec.params or 0) < SMALL else pytest.mark.large)
        for name in FAMILIES
    ],
)
def test_the_last_stage_gives_the_map_that_the_classes_are_read_from(name: str, same_weights: None) -> None:
    """As Grad-CAM wants it: a hook sees the last feature map, whose gradient is there and not 0."""
    seen: dict[str, torch.Tensor] = {}

    def keep(module: nn.Module, given: Any, features: torch.Tensor) -> None:
        seen["features"] = features
        features.register_hook(lambda gradient: seen.update(gradient=gradient))

    model = convzoo.create_model(name).eval()
    jitter_norms(model)
    model.stages[-1].register_forward_hook(keep)
    images = torch.rand(1, 3, SIZE, SIZE)
    model(images)[0, 3].backward()
    assert torch.equal(seen["features"], model.forward_features(images))
    assert seen["gradient"].shape == seen["features"].shape
    assert seen["gradient"].any()


@pytest.mark.parametrize(
    ("name", "options", "strides", "indices"),
    [
        ("resnet10t", {}, (4, 8, 16, 32), (1, 2, 3, 4)),
        ("resnet10t", {}, [32, 4], (4, 1)),
        ("resnet10t", {"output_stride": 16}, (8, 16), (2, 4)),
        ("condensenet74_g4", {}, (2, 4, 8, 16, 32), (1, 2, 3, 4, 5)),
        ("resnet20", {}, (1,), (1,)),
    ],
)
def test_levels_are_picked_by_stride_the_last_of_each(
    name: str, options: dict[str, Any], strides: Any, indices: tuple[int, ...]
) -> None:
    backbone = convzoo.create_model(name, features_only=True, out_strides=strides, device="meta", **options)
    assert backbone.feature_info.out_indices == indices
    assert backbone.feature_info.reduction() == list(strides)


def test_a_stride_that_there_is_not_is_refused_before_a_weight_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    def finish(*_: Any) -> None:
        raise AssertionError("weights are allocated")

    monkeypatch.setattr("convzoo.building.initialise.Deferred.finish", finish)
    with pytest.raises(
        OptionError, match=r"out_strides=\(4, 64\): the feature levels have the strides 2, 4, 8, 16, 32"
    ):
        convzoo.create_model("resnet10t", features_only=True, out_strides=(4, 64))


def test_named_levels_are_those_of_the_backbone_in_a_dict(same_weights: None) -> None:
    backbone = convzoo.create_model("resnet20", features_only=True, out_strides=(1, 4)).eval()
    images = torch.rand(1, 3, 32, 32)
    levels = NamedLevels(backbone)(images)
    assert list(levels) == ["0", "1"]
    assert all(torch.equal(one, other) for one, other in zip(levels.values(), backbone(images), strict=True))
    assert list(NamedLevels(backbone, ["aux", "out"])(images)) == ["aux", "out"]
    assert NamedLevels(backbone).feature_info.channels() == [16, 64]


@pytest.mark.parametrize("names", [["one"], ["one", "one"], ["a", "b", "c"], "ab", 2])
def test_each_level_needs_a_name_of_its_own(names: Any) -> None:
    backbone = convzoo.create_model("resnet20", features_only=True, out_strides=(1, 4), device="meta")
    with pytest.raises(OptionError, match="a list of 2 different names"):
        NamedLevels(backbone, names)
