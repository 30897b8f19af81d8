"""Weights go in whole, from wherever they come and under either library's keys, or the model stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import convzoo
from convzoo import Model, WeightsError, WeightsWarning, create_model
from convzoo.network.keys import key_map, reference_state_dict
from convzoo.network.weights import COUNTER, load_weights
from convzoo.plugins.host import registry

from .sites import smallest_of_each_family
from .tiny import TINY, State, assert_equal, copied, refused, tiny, trained, trained_state, without


@pytest.fixture
def state() -> State:
    return trained_state()


@pytest.fixture
def reference(state: State) -> State:
    """The same under the keys of timm and torchvision."""
    return reference_state_dict(trained())


# Under which keys


def test_keys_of_the_reference_are_those_of_timm_and_torchvision(reference: State) -> None:
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv2.weight", "layer2.1.bn1.bias", "fc.bias"} < set(
        reference
    )
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.num_batches_tracked"} < set(reference)
    assert not any("branch" in key or "stages" in key for key in reference)


def test_a_network_without_a_key_map_loads_its_own_keys() -> None:
    source, model = create_model("resnet20"), create_model("resnet20")
    assert load_weights(model, copied(source.state_dict())).fits
    assert_equal(model.state_dict(), source.state_dict())
    with pytest.raises(WeightsError, match="no key map"):
        key_map(model)
    with pytest.raises(WeightsError, match="no key map"):
        reference_state_dict(model)


def test_create_model_takes_weights(state: State, reference: State) -> None:
    for weights in (state, reference):
        assert_equal(tiny(weights=weights).state_dict(), state)


# What does not fit


@pytest.mark.parametrize("dialect", ["its own", "reference"])
def test_what_is_missing_left_over_or_of_another_shape_is_listed_and_nothing_is_loaded(
    state: State, reference: State, dialect: str
) -> None:
    source = copied(state if dialect == "its own" else reference)
    names = dict(zip(state, source, strict=True))
    source[names["stem.norm.weight"]] = torch.ones(9)
    del source[names["stages.1.0.branch.conv2.weight"]]
    source["extra.weight"] = torch.ones(2)
    message = refused(tiny(), source)
    assert "1 missing: stages.1.0.branch.conv2.weight" in message
    assert "1 unexpected: extra.weight" in message
    assert "1 mismatched: stem.norm.weight ((9,) instead of (8,))" in message
    assert f"{len(state) - 2} tensors fit" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda state: without(state, "head.fc.bias"),
        lambda state: {**state, "head.fc.extra": torch.ones(5)},
        lambda state: {**state, "stem.norm.bias": torch.ones(9)},
        lambda state: {**state, "stem.norm.bias": torch.ones(1, 8)},
        lambda state: {f"backbone.{key}": tensor for key, tensor in state.items()},
    ],
    ids=["missing", "left over", "longer", "of another rank", "all foreign"],
)
def test_any_one_misfit_is_refused(state: State, change: Callable[[State], State]) -> None:
    assert "unchanged" in refused(tiny(), change(state))


def test_weights_of_another_network_are_refused_by_create_model(state: State) -> None:
    with pytest.raises(WeightsError, match="do not fit"):
        create_model("resnet20", weights=state)


def test_not_strict_loads_what_fits_and_reports_the_rest(state: State) -> None:
    source = without(state, "head.fc.bias") | {"stem.norm.weight": torch.ones(9), "extra.weight": torch.ones(2)}
    model = tiny()
    before = copied(model.state_dict())
    report = load_weights(model, source, strict=False)
    assert not report.fits
    assert (report.missing, report.unexpected) == (["head.fc.bias"], ["extra.weight"])
    assert report.mismatched == ["stem.norm.weight ((9,) instead of (8,))"]
    left = {key: before[key] for key in ("head.fc.bias", "stem.norm.weight")}
    assert_equal(model.state_dict(), state | left)
    assert set(report.used) == set(state) - set(left)


@pytest.mark.parametrize("counters", [False, True])
def test_not_strict_refuses_what_fits_nowhere(state: State, counters: bool) -> None:
    source = {"encoder.weight": torch.ones(3), "stem.conv.weight": torch.ones(1)}
    if counters:  # which fit everywhere
        source |= {key: tensor for key, tensor in state.items() if key.endswith(COUNTER)}
    assert "do not fit" in refused(tiny(), source, strict=False)


def test_counters_of_batch_norms_may_be_missing(state: State) -> None:
    model = tiny()
    report = load_weights(model, {key: t for key, t in state.items() if not key.endswith(COUNTER)})
    assert report.fits
    counters = {key: tensor for key, tensor in model.state_dict().items() if key.endswith(COUNTER)}
    assert counters
    assert all(tensor == 0 for tensor in counters.values())
    assert_equal(model.state_dict(), state | counters)


def test_a_loaded_model_does_not_share_its_tensors_with_the_source(state: State) -> None:
    source = copied(state)
    model = tiny(weights=source)
    for tensor in source.values():
        tensor.zero_()
    assert_equal(model.state_dict(), state)


# The meta device


@pytest.mark.parametrize("counters", [True, False])
def test_a_model_on_the_meta_device_takes_the_tensors_themselves(state: State, counters: bool) -> None:
    source = {key: tensor for key, tensor in state.items() if counters or not key.endswith(COUNTER)}
    model = tiny(device="meta", weights=source)
    loaded = model.state_dict()
    assert [key for key in source if loaded[key].data_ptr() != source[key].data_ptr()] == []
    assert not any(tensor.is_meta for tensor in loaded.values())
    x = torch.randn(2, 3, 32, 32)
    expected = trained().eval()
    assert torch.equal(model.eval()(x), expected(x))
    model.train()(x).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())


def test_a_model_on_the_meta_device_stays_there_if_the_weights_do_not_fit(state: State) -> None:
    model = tiny(device="meta")
    with pytest.raises(WeightsError):
        load_weights(model, without(state, "head.fc.bias"))
    assert all(tensor.is_meta for tensor in model.state_dict().values())


# Networks without their last parts, and with another classifier


@pytest.mark.parametrize("levels", [(0,), (1, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize("dialect", ["its own", "reference"])
def test_a_features_only_network_takes_the_whole_networks_weights(
    state: State, reference: State, dialect: str, levels: tuple[int, ...]
) -> None:
    model = tiny(features_only=True, out_indices=levels)
    report = load_weights(model, state if dialect == "its own" else reference)
    assert report.fits
    assert_equal(model.body.state_dict(), {key: state[key] for key in model.body.state_dict()})
    created = tiny(features_only=True, out_indices=levels, weights=state)
    assert_equal(created.body.state_dict(), model.body.state_dict())


@pytest.mark.parametrize("key", ["extra.weight", "stem.extra", "stages.1.0.extra", "stages.2.0.extra", "stages.9.0.w"])
@pytest.mark.parametrize("levels", [(0, 1), (0, 1, 2), (0, 1, 2, 3)])
def test_a_features_only_network_refuses_keys_that_the_whole_network_has_not(
    state: State, levels: tuple[int, ...], key: str
) -> None:
    model = tiny(features_only=True, out_indices=levels)
    assert key in refused(model, {**state, key: torch.ones(1)})


def test_a_features_only_network_misses_its_own_weights(state: State) -> None:
    model = tiny(features_only=True, out_indices=(1,))
    assert "1 missing: stem.conv.weight" in refused(model, without(state, "stem.conv.weight"))


@pytest.mark.parametrize(("classes", "theirs"), [(5, 9), (5, 0), (0, 5)])
def test_a_features_only_network_does_not_mind_another_classifier(classes: int, theirs: int) -> None:
    source = trained(num_classes=theirs).state_dict()
    model = tiny(features_only=True, num_classes=classes, weights=source)
    assert_equal(model.body.state_dict(), {key: source[key] for key in model.body.state_dict()})


@pytest.mark.parametrize("classes", [5, 9, 0])
def test_the_classifier_can_be_left_as_it_is(state: State, classes: int) -> None:
    model = tiny(num_classes=classes)
    own = {key: tensor.clone() for key, tensor in model.state_dict().items() if key.startswith("head.")}
    for source in (state, without(state, "head.fc.weight", "head.fc.bias")):
        assert load_weights(model, source, classifier=False).fits
        assert_equal(model.state_dict(), without(state, "head.fc.weight", "head.fc.bias") | own)


def test_leaving_the_classifier_does_not_let_other_misfits_in(state: State) -> None:
    refused(tiny(), {**state, "extra.weight": torch.ones(1)}, classifier=False)
    refused(tiny(), without(state, "stem.conv.weight"), classifier=False)


@pytest.mark.parametrize("classes", [5, 9])
def test_a_fine_tuned_classifier_is_loaded(classes: int) -> None:
    mine = trained(num_classes=classes)
    for weights in (mine.state_dict(), reference_state_dict(mine)):
        assert_equal(tiny(num_classes=classes, weights=weights).state_dict(), mine.state_dict())


CLASSIFIER = ("head.fc.weight", "head.fc.bias")


def test_a_classifier_of_another_shape_is_left_as_it_is_with_a_warning(state: State, reference: State) -> None:
    for weights in (state, reference):
        torch.manual_seed(3)
        with pytest.warns(WeightsWarning) as caught:
            model = tiny(num_classes=9, weights=weights)
        torch.manual_seed(3)
        with pytest.warns(WeightsWarning):
            again = tiny(num_classes=9, weights=weights).state_dict()
        own = {key: again[key] for key in CLASSIFIER}
        assert all(0 < tensor.abs().max() <= 16**-0.5 and tensor.unique().numel() > 1 for tensor in own.values())
        assert_equal(model.state_dict(), without(state, *CLASSIFIER) | own)
        with pytest.warns(WeightsWarning) as again:
            report = load_weights(model, weights)
        assert (report.left_out, report.fits) == ([*CLASSIFIER], True)
        for (warning,) in (caught.list, again.list):
            text = str(warning.message)
            assert "head.fc.weight ((5, 16) instead of (9, 16)), head.fc.bias ((5,) instead of (9,))" in text
            assert "classifier=False" in text
    assert again[0].filename == __file__


def test_a_warning_names_the_line_that_called_create_model(state: State) -> None:
    with pytest.warns(WeightsWarning) as caught:
        create_model(TINY, num_classes=9, weights=state)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "change",
    [
        {"head.fc.bias": torch.ones(6)},
        {"head.fc.weight": torch.ones(5, 8)},
        {"head.fc.weight": torch.ones(5, 16, 1, 1)},
        {"head.fc.weight": torch.ones(5, 8), "head.fc.index": torch.arange(8)},
    ],
    ids=["bias", "fewer features", "convolution", "with an index"],
)
def test_a_classifier_of_which_a_part_has_another_shape_is_left_out_whole(state: State, change: State) -> None:
    model = tiny()
    own = {key: model.state_dict()[key].clone() for key in CLASSIFIER}
    with pytest.warns(WeightsWarning):
        assert load_weights(model, state | change).fits
    assert_equal(model.state_dict(), state | own)


def test_a_classifier_that_is_wanted_must_fit(state: State) -> None:
    message = refused(tiny(num_classes=9), state, classifier=True)
    assert "2 mismatched: head.fc.weight" in message
    assert "All but the classifier fits; load_weights(..., classifier=False)" in message
    assert load_weights(tiny(), state, classifier=True).fits


@pytest.mark.parametrize("classes", [5, 9])
def test_weights_without_a_classifier_are_refused_with_the_mend(state: State, classes: int) -> None:
    message = refused(tiny(num_classes=classes), without(state, *CLASSIFIER))
    assert "2 missing: head.fc.weight, head.fc.bias" in message
    assert "All but the classifier fits; load_weights(..., classifier=False)" in message


def test_a_network_without_classes_takes_no_classifier_and_needs_no_warning(state: State, reference: State) -> None:
    for weights in (state, reference, without(state, *CLASSIFIER)):
        model = tiny(num_classes=0, weights=weights)
        assert_equal(model.state_dict(), without(state, *CLASSIFIER))
    assert "extra.weight" in refused(model, {**state, "extra.weight": torch.ones(1)})


class Layers(nn.Module):
    """A head whose classifier is no single layer."""

    classifier_name = "layers"

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels)
        self.in_channels = in_channels
        self.reset(num_classes)

    def reset(self, num_classes: int, global_pool: str | None = None) -> None:
        self.layers = nn.Sequential(nn.Linear(self.in_channels, 4), nn.Linear(4, num_classes))

    def forward(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = self.norm(x.mean((2, 3)))
        return x if pre_logits else self.layers(x)


def test_a_classifier_of_several_layers_is_left_out_whole(mine: str) -> None:
    convzoo.register(convzoo.Component("head", mine, Layers), plugin=mine)
    state = trained(head=mine).state_dict()
    assert_equal(tiny(head=mine, weights=state).state_dict(), state)
    model = tiny(head=mine, num_classes=9)
    with pytest.warns(WeightsWarning):
        report = load_weights(model, state)
    assert report.left_out == [f"head.layers.{n}.{part}" for n in (0, 1) for part in ("weight", "bias")]
    assert torch.equal(model.state_dict()["head.norm.weight"], state["head.norm.weight"])
    assert not torch.equal(model.state_dict()["head.layers.0.weight"], state["head.layers.0.weight"])


# Key maps


@pytest.mark.large  # every run has the smallest of each family below, and each that is compared with timm
@pytest.mark.parametrize(
    "variant",
    [name for name, entry in registry().models().items() if entry.spec.keys and entry.spec.params < 30_000_000],
)
def test_key_maps_are_injective(variant: str) -> None:
    model = create_model(variant, device="meta")
    names = key_map(model)
    assert list(names) == list(model.state_dict())
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(name, marks=[pytest.mark.large] if name == "senet154" else [])
        for name in smallest_of_each_family()
        if registry().model(name).spec.keys
    ],
)
def test_a_variant_gets_its_weights_back_from_its_reference_state_dict(variant: str) -> None:
    source = create_model(variant)
    model = create_model(variant, device="meta")
    report = load_weights(model, reference_state_dict(source))
    assert (report.fits, report.dialect) == (True, "reference")
    expected, loaded = source.state_dict(), model.state_dict()
    assert [key for key in expected if expected[key].data_ptr() != loaded[key].data_ptr()] == []


def test_a_key_map_that_sends_two_keys_to_one_is_refused() -> None:
    model = convzoo.build(Model("tiny", "tiny", TINY.stem, TINY.stages, keys=((r"^stages\.\d", "layer"),)))
    with pytest.raises(WeightsError, match="two keys"):
        key_map(model)


def test_weights_in_float64_are_not_rounded_where_the_model_is_made_in_float64() -> None:
    state = {key: t.double() for key, t in convzoo.create_model("resnet20").state_dict().items()}
    state["stem.conv.weight"] = torch.rand_like(state["stem.conv.weight"])
    model = convzoo.create_model("resnet20", weights=state, dtype="float64")
    assert torch.equal(model.stem.conv.weight, state["stem.conv.weight"])


@pytest.mark.parametrize("flag", ["strict", "classifier", "use_ema"])
def test_flags_of_loading_are_true_or_false(flag: str) -> None:
    model = convzoo.create_model("resnet20", device="meta")
    with pytest.raises(convzoo.OptionError, match=flag):
        convzoo.load_weights(model, model.state_dict(), **{flag: "no"})  # type: ignore[arg-type]


def test_create_model_takes_use_ema_as_true_or_false() -> None:
    with pytest.raises(convzoo.OptionError, match="use_ema"):
        convzoo.create_model("resnet20", use_ema="no")  # type: ignore[call-overload]


@pytest.mark.parametrize("folder", ["x" * 300, "a/" * 3000, "a\0b"])
def test_a_folder_that_cannot_be_is_a_folder_that_is_not_there(folder: str, tmp_path: Path) -> None:
    for call in (
        lambda: convzoo.create_model(f"local-dir:{folder}"),
        lambda: convzoo.create_model("resnet20", weights=f"local-dir:{folder}"),
        lambda: convzoo.save_pretrained(convzoo.create_model("resnet20"), tmp_path / folder),
    ):
        with pytest.raises(WeightsError):
            call()
