"""Weights for RGB images in a network for other images become what timm makes of them, and that is said."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models import adapt_input_conv
from torch import nn

from convzoo import Component, WeightsWarning, create_model, ref, register
from convzoo.network.checkpoints import open_checkpoint
from convzoo.network.fitting import fit
from convzoo.network.keys import reference_state_dict
from convzoo.network.reading import read_under
from convzoo.network.weights import load_weights
from convzoo.plugins.host import registry

from .tiny import assert_equal, refused, tiny, trained


@pytest.mark.parametrize("in_chans", [1, 2, 4, 6, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_the_first_convolution_is_adapted_as_timm_adapts_it(in_chans: int, dtype: torch.dtype) -> None:
    state = trained(dtype=dtype).state_dict()
    model = tiny(in_chans=in_chans, dtype=dtype)
    with pytest.warns(WeightsWarning, match=rf"stem.conv.weight is for RGB images; for in_chans={in_chans} it is"):
        report = load_weights(model, state)
    expected = adapt_input_conv(in_chans, state["stem.conv.weight"].clone())
    if dtype == torch.float64:  # which timm rounds to float32
        torch.testing.assert_close(model.stem.conv.weight.data, expected, rtol=0, atol=1e-7)
        expected = model.stem.conv.weight.data
    assert_equal(model.state_dict(), state | {"stem.conv.weight": expected})
    assert report.fits
    assert report.adapted == ["stem.conv.weight"]


@pytest.mark.parametrize(("name", "in_chans"), [("resnet10t", 4), ("densenet121", 1)])
def test_a_network_for_other_images_computes_what_timms_does(name: str, in_chans: int) -> None:
    torch.manual_seed(0)
    state = timm.create_model(name, num_classes=3).state_dict()
    theirs = timm.create_model(
        name,
        num_classes=3,
        in_chans=in_chans,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": dict(state), "num_classes": 3},
    )
    with pytest.warns(WeightsWarning):
        ours = create_model(name, num_classes=3, in_chans=in_chans, weights=state)
    assert_equal(reference_state_dict(ours), theirs.state_dict())


def smallest_with_each_stem() -> list[str]:
    """The variant with the fewest parameters for each stem, and each set of options of it."""
    smallest: dict[tuple[str, ...], str] = {}
    for name, entry in sorted(registry().models().items(), key=lambda item: item[1].spec.params or 0):
        smallest.setdefault((entry.spec.stem.name, *entry.spec.stem.options), name)
    return list(smallest.values())


@pytest.mark.parametrize("name", smallest_with_each_stem())
def test_the_first_convolution_of_every_stem_is_found(name: str) -> None:
    """It is the only tensor that depends on ``in_chans``."""
    rgb = create_model(name, device="meta")
    state = {key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for key, tensor in rgb.state_dict().items()}
    model = create_model(name, in_chans=2, device="meta")
    classifier = str(model.get_classifier(name_only=True))
    reading = read_under(model.spec, open_checkpoint(state, True), model.state_dict(), (), classifier, None)
    report, chosen, (note,) = fit(model, model.state_dict(), reading, classifier, True)
    (key,) = report.adapted
    assert key == f"{rgb.default_cfg['first_conv']}.weight"
    assert chosen[key].shape[1] == 2
    assert report.fits
    assert key in note


def test_a_features_only_network_is_adapted_too() -> None:
    model = tiny(features_only=True, in_chans=1)
    with pytest.warns(WeightsWarning):
        assert load_weights(model, trained().state_dict()).adapted == ["stem.conv.weight"]


def test_a_deep_stem_as_wide_as_the_image_has_channels_is_adapted_at_its_first_convolution_only() -> None:
    stem = ref("deep", width=4)
    state = tiny(stem=stem).state_dict()
    with pytest.warns(WeightsWarning):
        assert load_weights(tiny(stem=stem, in_chans=4), state).adapted == ["stem.conv.0.weight"]


def test_only_the_stem_is_adapted() -> None:
    """A convolution after it may have as many inputs by chance."""
    state = tiny(stem=ref("conv", width=3)).state_dict()
    model = tiny(stem=ref("conv", width=4), in_chans=4)
    assert load_weights(model, state, strict=False).adapted == []


class TwoPaths(nn.Module):
    """A stem with two convolutions of the image."""

    reduction, out_channels = 2, 8

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(in_channels, 8, 3, 2, 1)
        self.other = nn.Conv2d(in_channels, 8, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) + self.other(x)


def test_every_convolution_of_the_image_is_adapted(mine: str) -> None:
    register(Component("stem", mine, TwoPaths), plugin=mine)
    state = tiny(stem=mine).state_dict()
    with pytest.warns(WeightsWarning):
        assert load_weights(tiny(stem=mine, in_chans=1), state).adapted == ["stem.one.weight", "stem.other.weight"]


class Unshuffling(nn.Module):
    """A stem that moves pixels into channels before its convolution."""

    reduction, out_channels = 2, 8

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * in_channels, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(nn.functional.pixel_unshuffle(x, 2))


def test_a_convolution_of_rearranged_channels_is_refused(mine: str) -> None:
    """Which of them are red is not known."""
    register(Component("stem", mine, Unshuffling), plugin=mine)
    assert "1 mismatched: stem.conv.weight" in refused(tiny(stem=mine, in_chans=1), tiny(stem=mine).state_dict())


@pytest.mark.parametrize(("theirs", "ours"), [(1, 3), (4, 3), (4, 1), (1, 4)])
def test_weights_for_other_images_than_rgb_are_refused_with_the_mend(theirs: int, ours: int) -> None:
    message = refused(tiny(in_chans=ours), trained(in_chans=theirs).state_dict())
    assert "1 mismatched: stem.conv.weight" in message
    assert f"a network with in_chans={theirs} takes them" in message


@pytest.mark.parametrize("in_chans", [1, 4])
def test_weights_for_the_same_images_load_without_a_word(in_chans: int) -> None:
    state = trained(in_chans=in_chans).state_dict()
    model = tiny(in_chans=in_chans, weights=state)
    assert_equal(model.state_dict(), state)


def test_a_warning_that_is_an_error_leaves_the_model_unchanged() -> None:
    model = tiny(in_chans=1)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(WeightsWarning):  # as all tests have it
        load_weights(model, trained().state_dict())
    assert_equal(model.state_dict(), before)
