"""A checkpoint's state dict is found in what was saved with it, and its keys in what wrappers made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from convzoo import Component, Model, WeightsError, create_model, ref, register
from convzoo.layouts import stages
from convzoo.network.keys import reference_state_dict
from convzoo.network.weights import load_weights

from .tiny import State, assert_equal, copied, refused, tiny, trained, trained_state


@pytest.fixture
def state() -> State:
    return trained_state()


def zeros(state: State) -> State:
    return {key: torch.zeros_like(tensor) for key, tensor in state.items()}


# Entries

ENTRIES: dict[str, Callable[[State], Any]] = {
    "": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: torch.ones(2)}}},
    "model": lambda state: {"model": state, "args": None, "step": torch.tensor(5)},
    "net": lambda state: {"net": state, "acc": 93.1, "epoch": 200},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": torch.tensor(0.1)},
    "module": lambda state: {"module": state},
    "model.state_dict": lambda state: {"model": {"state_dict": state}},
}


@pytest.mark.parametrize("dialect", ["its own", "reference"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_state_dict_loads_under_either_keys_and_from_any_entry(state: State, entry: str, dialect: str) -> None:
    model = tiny()
    report = load_weights(model, ENTRIES[entry](state if dialect == "its own" else reference_state_dict(trained())))
    assert_equal(model.state_dict(), state)
    assert (report.fits, report.dialect, report.entry) == (True, dialect, entry)
    assert set(report.used) == set(state)
    assert report.missing == report.unexpected == report.mismatched == report.adapted == report.left_out == []


@pytest.mark.parametrize("averaged", ["state_dict_ema", "model_ema", "ema", "ema.module"])
@pytest.mark.parametrize("plain", ["state_dict", "model"])
def test_the_moving_average_is_preferred_unless_it_is_not_wanted(state: State, plain: str, averaged: str) -> None:
    outer, _, inner = averaged.partition(".")
    source = {plain: zeros(state), outer: {inner: state} if inner else state, "epoch": 3}
    model = tiny()
    report = load_weights(model, source)
    assert report.entry == averaged
    assert f"keys in {averaged!r}" in str(report)
    assert_equal(model.state_dict(), state)
    assert load_weights(model, source, use_ema=False).entry == plain
    assert_equal(model.state_dict(), zeros(state))
    for use_ema in (True, False):
        created = tiny(weights=source, use_ema=use_ema)
        assert_equal(created.state_dict(), state if use_ema else zeros(state))


@pytest.mark.parametrize("nothing", [None, {}, True, 0.999, {"decay": 0.99, "updates": 3}], ids=str)
def test_a_moving_average_without_weights_is_not_taken(state: State, nothing: Any) -> None:
    assert load_weights(tiny(), {"state_dict": state, "model_ema": nothing}).entry == "state_dict"


def test_a_moving_average_that_does_not_fit_is_refused_with_the_mend(state: State) -> None:
    source = {"state_dict": state, "ema": {"stem.conv.weight": state["stem.conv.weight"]}}
    assert "use_ema=False takes the others" in refused(tiny(), source)
    assert "use_ema" not in refused(tiny(), source["ema"])


def test_a_moving_average_that_stands_alone_must_be_wanted(state: State) -> None:
    assert load_weights(tiny(), {"state_dict_ema": state}).fits
    assert "'state_dict_ema', which use_ema=True takes" in refused(tiny(), {"state_dict_ema": state}, use_ema=False)


def test_entries_are_looked_up_in_timms_order(state: State, tmp_path: Any) -> None:
    source = {
        key: {"fc.bias": torch.tensor([float(n)])}
        for n, key in enumerate(["model", "state_dict", "model_ema", "state_dict_ema"])
    }
    while source:
        torch.save(source, tmp_path / "checkpoint.pth")
        for use_ema in (True, False):
            theirs = timm.models.load_state_dict(str(tmp_path / "checkpoint.pth"), use_ema)
            if "fc.bias" in theirs:
                net = tiny(num_classes=1)
                load_weights(net, source, strict=False, use_ema=use_ema)
                assert net.head.fc.bias.item() == theirs["fc.bias"].item()
        source.popitem()


@pytest.mark.parametrize(
    "source",
    [{}, {"epoch": 3}, {0: torch.ones(3)}, {"state_dict": {"layer": {"weight": torch.ones(3)}}}, {"model": {}}],
    ids=str,
)
def test_a_mapping_without_a_state_dict_is_refused(source: Any) -> None:
    assert "the mapping" in refused(tiny(), source)


def test_a_mapping_that_holds_itself_is_refused() -> None:
    source: dict[str, Any] = {"epoch": 3}
    source["model"] = source
    assert "there is 'epoch', 'model'" in refused(tiny(), source)


@pytest.mark.parametrize("source", [True, 5, None, [torch.ones(3)], b"weights.pth", b"x" * 5000], ids=repr)
def test_what_is_no_source_is_refused(source: Any) -> None:
    message = refused(tiny(), source)
    assert "a state dict, a file or a URL" in message
    assert len(message) < 200


def test_a_network_as_a_source_is_refused_with_the_mend() -> None:
    assert "not a ConvNet: give its state_dict()" in refused(tiny(), trained())


# Keys


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")  # type: ignore[return-value]


def averaged(model: nn.Module) -> nn.Module:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)


class Lightning(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class Task(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


def in_blocks(model: Any) -> nn.Module:
    """Compiled block by block."""
    for stage in model.stages:
        for name, block in stage.named_children():
            setattr(stage, name, compiled(block))
    return model


WRAPPERS: dict[str, Callable[[Any], nn.Module]] = {
    "parallel": nn.DataParallel,
    "compiled": compiled,
    "parallel, compiled": lambda model: compiled(nn.DataParallel(model)),
    "compiled, parallel": lambda model: nn.DataParallel(compiled(model)),
    "compiled, parallel, compiled": lambda model: compiled(nn.DataParallel(compiled(model))),
    "averaged": averaged,
    "averaged, parallel": lambda model: averaged(nn.DataParallel(model)),
    "in blocks": in_blocks,
    "in blocks, parallel": lambda model: nn.DataParallel(in_blocks(model)),
    "lightning": Lightning,
    "lightning, compiled": lambda model: Lightning(compiled(model)),
    "lightning, parallel": lambda model: nn.DataParallel(Lightning(model)),
    "task": Task,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_wrappers_put_into_keys_does_not_matter(state: State, wrapper: str) -> None:
    source = WRAPPERS[wrapper](trained()).state_dict()
    assert source.keys() != state.keys()
    model = tiny()
    report = load_weights(model, {"state_dict": source})
    assert report.fits
    assert_equal(model.state_dict(), state)


def test_what_wrappers_put_into_keys_of_the_reference_does_not_matter(state: State) -> None:
    model = tiny()
    for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "model._orig_mod."):
        load_weights(model, zeros(state))
        load_weights(model, {f"{prefix}{key}": value for key, value in reference_state_dict(trained()).items()})
        assert_equal(model.state_dict(), state)


@pytest.mark.parametrize("wrapper", ["parallel", "compiled", "compiled, parallel", "averaged"])
def test_a_network_in_a_wrapper_takes_weights(state: State, wrapper: str) -> None:
    model = tiny()
    assert load_weights(WRAPPERS[wrapper](model), state).fits  # type: ignore[arg-type]
    if wrapper != "averaged":  # which copies
        assert_equal(model.state_dict(), state)


@pytest.mark.parametrize(
    "model", [nn.Linear(2, 2), nn.DataParallel(nn.Linear(2, 2)), timm.create_model("resnet10t"), None]
)
def test_what_is_no_network_of_convzoo_takes_no_weights(state: State, model: Any) -> None:
    with pytest.raises(WeightsError, match="not into a"):
        load_weights(model, state)


@pytest.mark.parametrize("levels", [(0, 1), (0, 1, 2, 3)])
def test_a_features_only_networks_own_state_dict_loads(levels: tuple[int, ...]) -> None:
    source = tiny(features_only=True, out_indices=levels)
    for wrap in (lambda net: net, nn.DataParallel, Lightning):
        model = tiny(features_only=True, out_indices=levels)
        assert load_weights(model, wrap(source).state_dict()).fits
        assert_equal(model.state_dict(), source.state_dict())
    missing = refused(tiny(), source.state_dict())
    assert "missing" in missing


def test_a_whole_network_takes_the_features_that_fit() -> None:
    source, model = tiny(features_only=True), tiny()
    load_weights(model, source.state_dict(), classifier=False)
    assert_equal({k: v for k, v in model.state_dict().items() if "fc" not in k}, source.body.state_dict())


def test_two_keys_for_one_tensor_are_refused(state: State) -> None:
    for prefix in ("module.", "model.", "_orig_mod."):
        key = f"{prefix}stem.conv.weight"
        source = {**state, key: torch.zeros_like(state["stem.conv.weight"])}
        assert f"1 unexpected: {key}" in refused(tiny(), source)
        model = tiny()
        assert load_weights(model, source, strict=False).unexpected == [key]
        assert_equal(model.state_dict(), state)


def test_keys_of_something_else_beside_the_network_are_refused(state: State) -> None:
    source = {f"model.{key}": value for key, value in state.items()} | {"criterion.weight": torch.ones(5)}
    assert "1 unexpected: criterion.weight" in refused(tiny(), source)


class Wrapping(nn.Module):
    """A part whose own modules are called as in wrappers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels, 1, 1))
        self.module = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x) * self.weight


def test_a_network_may_have_modules_that_are_called_as_in_wrappers(mine: str) -> None:
    register(Component("attention", mine, Wrapping), plugin=mine)
    spec = Model("wrapping", "mine", ref("cifar"), stages(ref("basic", attention=ref(mine)), (1, 1), (4, 8)))
    source = create_model(spec)
    for wrap in (lambda net: net, nn.DataParallel, compiled, Lightning):
        model = create_model(spec)
        assert load_weights(model, wrap(source).state_dict()).fits
        assert_equal(model.state_dict(), source.state_dict())
    model = create_model(spec)
    before = copied(model.state_dict())
    state = in_blocks(source).state_dict()  # in which the two cannot be told apart
    message = refused(model, state)
    assert "missing: stages.0.0.branch.attention.weight" in message
    load_weights(model, state, strict=False)
    key = "stages.0.0.branch.attention.weight"
    assert torch.equal(model.state_dict()[key], before[key])


def test_a_network_without_a_key_map_loads_its_own_keys() -> None:
    source, model = create_model("resnet20"), create_model("resnet20")
    assert load_weights(model, {f"module.{key}": value for key, value in source.state_dict().items()}).fits
    assert_equal(model.state_dict(), source.state_dict())
