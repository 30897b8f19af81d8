"""Images become a model's input as timm, and whoever published the weights, prepares them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import timm
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_images

from convzoo import OptionError, create_model, transforms
from convzoo.network.model import ConvNet
from convzoo.published.rows import choose

from .tiny import tiny


def photograph() -> Image.Image:
    return Image.fromarray(load_sample_images().images[0])


def model(name: str, **options: Any) -> ConvNet:
    return create_model(name, device="meta", **options)


@pytest.mark.parametrize("name", ["resnet50", "resnest101", "resnetrs50", "densenet121", "seresnext50_32x4d"])
@pytest.mark.parametrize("test_size", [False, True])
def test_evaluation_is_timms(name: str, test_size: bool) -> None:
    ours = model(name)
    reference = ours.spec.reference("timm")
    assert reference is not None
    config = timm.data.resolve_data_config(
        pretrained_cfg=timm.get_pretrained_cfg(reference.name).to_dict(), use_test_size=test_size
    )
    expected = timm.data.create_transform(**config)(photograph())
    torch.testing.assert_close(transforms(ours, test_size=test_size)(photograph()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tag", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_evaluation_of_torchvisions_weights_is_torchvisions(tag: str) -> None:
    network = model("resnet50")
    network.tell(choose("resnet50", "torchvision", tag).input)
    expected = torchvision.models.get_model_weights("resnet50")[tag].transforms()(photograph())
    torch.testing.assert_close(transforms(network)(photograph()), expected, rtol=0, atol=1e-6)


def test_small_images_are_not_resized_and_are_trained_with_a_padded_crop() -> None:
    network, image = model("resnet20"), photograph().resize((32, 32))
    plain = torchvision.transforms.functional.to_tensor(image)
    mean, std = (torch.tensor(network.default_cfg[key])[:, None, None] for key in ("mean", "std"))
    torch.testing.assert_close(transforms(network)(image), (plain - mean) / std)
    torch.manual_seed(0)
    made = [transforms(network, train=True)(image) for _ in range(4)]
    assert {tuple(each.shape) for each in made} == {(3, 32, 32)}
    assert len({float(each.sum()) for each in made}) > 1


def test_training_crops_at_random_to_the_models_size() -> None:
    torch.manual_seed(0)
    made = [transforms(model("resnetrs50"), train=True)(photograph()) for _ in range(3)]
    assert {tuple(each.shape) for each in made} == {(3, 160, 160)}
    assert len({float(each.sum()) for each in made}) == 3
    assert transforms(model("resnet50"), size=96)(photograph()).shape == (3, 96, 96)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"size": 0}, "size must be"), ({"train": 1}, "train must be"), ({"test_size": "x"}, "test_size must")],
)
def test_impossible_images_are_refused(options: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        transforms(tiny(), **options)


def test_images_that_are_not_rgb_are_refused() -> None:
    with pytest.raises(OptionError, match="RGB"):
        transforms(tiny(in_chans=1))


def test_torchvision_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.transforms", None)
    with pytest.raises(OptionError, match="pip install torchvision"):
        transforms(tiny())
