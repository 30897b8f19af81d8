"""Weights go in whole, from wherever they come and under either library's keys, or the model stays as it is."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import convzoo
from convzoo import Model, WeightsError, create_model, ref
from convzoo.layouts import BASIC, KEYS, stages
from convzoo.network.keys import key_map, reference_state_dict
from convzoo.network.model import ConvNet
from convzoo.network.weights import COUNTER, load_weights
from convzoo.plugins.host import registry
from convzoo.testing.numerics import jitter_norms

from .sites import smallest_of_each_family

State = dict[str, torch.Tensor]

TINY = Model(
    "tiny", "tiny", stem=ref("conv", width=8), stages=stages(BASIC, (1, 2, 1), (8, 16, 16)), keys=KEYS, num_classes=5
)


def tiny(**options: Any) -> Any:
    return create_model(TINY, **options)


def trained(**options: Any) -> ConvNet:
    """A network in which no tensor is as it starts, counters among them."""
    torch.manual_seed(1)
    model = tiny(**options)
    jitter_norms(model)
    for name, buffer in model.named_buffers():
        if name.endswith(COUNTER):
            buffer.fill_(3)
    return model


def copied(state: State) -> State:
    return {key: tensor.clone() for key, tensor in state.items()}


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.fixture
def state() -> State:
    return trained().state_dict()


@pytest.fixture
def reference(state: State) -> State:
    """The same under the keys of timm and torchvision."""
    return reference_state_dict(trained())


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def refused(model: nn.Module, source: Any, **options: Any) -> str:
    """The message with which ``source`` is refused, ``model`` being the same afterwards, bit by bit."""
    before = copied(model.state_dict())
    pointers = [tensor.data_ptr() for tensor in model.state_dict().values()]
    with pytest.raises(WeightsError) as caught:
        load_weights(model, source, **options)
    assert_equal(model.state_dict(), before)
    assert [tensor.data_ptr() for tensor in model.state_dict().values()] == pointers
    return str(caught.value)


# Where they come from


def test_keys_of_the_reference_are_those_of_timm_and_torchvision(reference: State) -> None:
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv2.weight", "layer2.1.bn1.bias", "fc.bias"} < set(
        reference
    )
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.num_batches_tracked"} < set(reference)
    assert not any("branch" in key or "stages" in key for key in reference)


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "model": lambda state: {"model": state, "args": None},
    "module": lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
    "module in state_dict": lambda state: {"state_dict": {f"module.{key}": t for key, t in state.items()}},
}


@pytest.mark.parametrize("dialect", ["its own", "reference"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_state_dict_loads_under_either_keys_and_from_any_wrapper(
    state: State, reference: State, wrapper: str, dialect: str
) -> None:
    model = tiny()
    report = load_weights(model, WRAPPERS[wrapper](state if dialect == "its own" else reference))
    assert_equal(model.state_dict(), state)
    assert (report.fits, report.dialect) == (True, dialect)
    assert set(report.used) == set(state)
    assert report.missing == report.unexpected == report.mismatched == []


def test_a_network_without_a_key_map_loads_its_own_keys() -> None:
    source, model = create_model("resnet20"), create_model("resnet20")
    assert load_weights(model, copied(source.state_dict())).fits
    assert_equal(model.state_dict(), source.state_dict())
    with pytest.raises(WeightsError, match="no key map"):
        key_map(model)
    with pytest.raises(WeightsError, match="no key map"):
        reference_state_dict(model)


def save(state: State, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("kind", ["path", "str", "url"])
@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.safetensors"])
def test_a_file_and_a_url_load(state: State, reference: State, tmp_path: Path, name: str, kind: str) -> None:
    path = save(reference, tmp_path / name)
    model = tiny()
    assert load_weights(model, {"path": path, "str": str(path), "url": path.as_uri()}[kind]).fits
    assert_equal(model.state_dict(), state)


def test_create_model_takes_weights(state: State, reference: State, tmp_path: Path) -> None:
    for weights in (state, reference, str(save(state, tmp_path / "weights.pth"))):
        assert_equal(tiny(weights=weights).state_dict(), state)


def test_a_url_is_fetched_once_and_kept(state: State, tmp_path: Path, hub: Path) -> None:
    path = save(state, tmp_path / "weights.pth")
    load_weights(tiny(), path.as_uri())
    path.unlink()
    assert len(list(hub.iterdir())) == 1
    assert load_weights(tiny(), path.as_uri()).fits


def test_two_urls_whose_files_have_one_name_are_two_files(state: State, tmp_path: Path) -> None:
    other = copied(state)
    other["head.fc.bias"] += 1
    for folder, content in (("one", state), ("two", other)):
        (tmp_path / folder).mkdir()
        path = save(content, tmp_path / folder / "model.safetensors")
        model = tiny()
        load_weights(model, path.as_uri())
        assert_equal(model.state_dict(), content)


def test_the_digest_in_a_name_is_checked(state: State, tmp_path: Path, hub: Path) -> None:
    path = save(state, tmp_path / "weights.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for length in (8, 64):
        right = path.rename(tmp_path / f"weights-{digest[:length]}.pth")
        assert load_weights(tiny(), right.as_uri()).fits
        path = right
    wrong = path.rename(tmp_path / f"weights-{digest[8:16]}.pth")
    for _ in range(2):  # what was refused is not kept
        assert digest[8:16] in refused(tiny(), wrong.as_uri())
    assert load_weights(tiny(), wrong).fits  # only what is fetched is checked


# What does not fit


def without(state: State, *keys: str) -> State:
    return {key: tensor for key, tensor in state.items() if key not in keys}


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
        lambda state: {**state, "head.fc.bias": torch.ones(6)},
        lambda state: {**state, "head.fc.bias": torch.ones(1, 5)},
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


def test_counters_of_batch_norms_may_be_missing(state: State) -> None:
    model = tiny()
    report = load_weights(model, {key: t for key, t in state.items() if not key.endswith(COUNTER)})
    assert report.fits
    counters = {key: tensor for key, tensor in model.state_dict().items() if key.endswith(COUNTER)}
    assert counters
    assert all(tensor == 0 for tensor in counters.values())
    assert_equal(model.state_dict(), state | counters)


def test_values_take_the_precision_of_the_model(state: State) -> None:
    model = tiny(dtype=torch.float64)
    load_weights(model, state)
    assert model.head.fc.weight.dtype == torch.float64
    assert torch.equal(model.head.fc.weight, state["head.fc.weight"].double())


def test_a_loaded_model_does_not_share_its_tensors_with_the_source(state: State) -> None:
    source = copied(state)
    model = tiny(weights=source)
    for tensor in source.values():
        tensor.zero_()
    assert_equal(model.state_dict(), state)


def test_tensors_without_values_are_refused(state: State) -> None:
    refused(tiny(), {**state, "head.fc.bias": state["head.fc.bias"].to("meta")})


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


@pytest.mark.parametrize("classes", [9, 0])
def test_another_number_of_classes_keeps_the_fresh_classifier(state: State, reference: State, classes: int) -> None:
    for weights in (state, reference):
        model = tiny(num_classes=classes, weights=weights)
        body = {key: t for key, t in model.state_dict().items() if not key.startswith("head.")}
        assert_equal(body, without(state, "head.fc.weight", "head.fc.bias"))
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, classes or 16)


def test_the_variants_own_number_of_classes_wants_the_classifier_too(state: State) -> None:
    with pytest.raises(WeightsError, match=r"2 missing: head\.fc\.weight, head\.fc\.bias"):
        tiny(num_classes=5, weights=without(state, "head.fc.weight", "head.fc.bias"))


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


# What is no state dict


class Code:
    """A pickle that runs code when it is read without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "folder"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    assert name in refused(tiny(), str(tmp_path / name))
    assert name in refused(tiny(), (tmp_path / name).as_uri())


@pytest.mark.parametrize("name", ["garbage.pth", "garbage.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02" + b"x" * 99])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert name in refused(tiny(), path)


def test_a_truncated_file_is_refused(state: State, tmp_path: Path) -> None:
    for name in ("weights.pth", "weights.safetensors"):
        path = save(state, tmp_path / name)
        path.write_bytes(path.read_bytes()[:-100])
        assert name in refused(tiny(), path)


def test_a_pickle_with_code_is_refused_and_not_run(state: State, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    torch.save({**state, "extra": Code(witness)}, tmp_path / "code.pth")
    assert "code.pth" in refused(tiny(), tmp_path / "code.pth")
    assert not witness.exists()
    torch.load(tmp_path / "code.pth", weights_only=False)
    assert witness.exists()  # so that the file was a danger


@pytest.mark.parametrize(
    "content", [torch.ones(3), [torch.ones(3)], {}, {"epoch": 3}, {"state_dict": {}}, {0: 1}], ids=str
)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert "other.pth" in refused(tiny(), tmp_path / "other.pth")


@pytest.mark.parametrize("source", [{}, {"epoch": 3}, {0: torch.ones(3)}, True, 5, [torch.ones(3)]], ids=str)
def test_what_is_no_state_dict_is_refused(source: Any) -> None:
    refused(tiny(), source)


def test_safetensors_that_is_not_installed_is_named(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(state, tmp_path / "weights.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert "pip install 'convzoo[safetensors]'" in refused(tiny(), path)
