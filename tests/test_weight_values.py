"""Every value loads exactly, or is refused by name before anything is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from convzoo import Component, Model, WeightsError, create_model, ref, register
from convzoo.layouts import stages
from convzoo.network.weights import load_weights

from .tiny import State, assert_equal, copied, refused, tiny, trained_state

KEY = "stages.1.0.branch.conv2.weight"
COUNT = "stem.norm.num_batches_tracked"


@pytest.fixture
def state() -> State:
    return trained_state()


class Labelled(torch.Tensor):
    """A tensor that is more than its values."""


def beta(make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """What ``make`` gives, without torch's warning that it is new or old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


REFUSED: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "integer": (lambda t: (t * 100).long(), "torch.int64 instead of torch.float32"),
    "byte": (lambda t: (t * 100).to(torch.int8), "torch.int8 instead of torch.float32"),
    "bool": (lambda t: t > 0, "torch.bool instead of torch.float32"),
    "complex": (lambda t: t.to(torch.complex64), "torch.complex64 instead of torch.float32"),
    "too large": (lambda t: t.double() * 1e60, "cannot hold its values"),
    "sparse": (lambda t: t.to_sparse(), r"sparse_coo; give its to_dense\(\)"),
    "compressed": (lambda t: beta(lambda: t.flatten(1).to_sparse_csr()), r"sparse_csr; give its to_dense\(\)"),
    "quantized": (
        lambda t: beta(lambda: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)),
        r"quantized; give its dequantize\(\)",
    ),
    "nested": (lambda t: beta(lambda: torch.nested.nested_tensor(list(t))), "nested"),
    "jagged": (lambda t: torch.nested.nested_tensor(list(t), layout=torch.jagged), "Nested"),
    "on meta": (lambda t: t.to("meta"), "without values"),
    "subclass": (lambda t: t.as_subclass(Labelled), "Labelled; give a plain tensor"),
    "lazy": (lambda t: nn.UninitializedParameter(), "UninitializedParameter"),
    "array": (lambda t: t.numpy(), "ndarray instead of a tensor"),
    "number": (lambda t: 3, "int instead of a tensor"),
    "list": (lambda t: t.tolist(), "list instead of a tensor"),
    "nothing": (lambda t: None, "NoneType instead of a tensor"),
    "transposed": (lambda t: t.flatten(1), "instead of"),
    "scalar": (lambda t: t.sum(), "instead of"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("change", REFUSED)
def test_a_value_that_cannot_be_loaded_is_refused_by_name(state: State, change: str, device: str) -> None:
    make, words = REFUSED[change]
    source = {**state, KEY: make(state[KEY])}
    model = tiny(device=device)
    if device == "cpu":
        refused(model, source)
    with pytest.raises(WeightsError, match=words) as caught:
        load_weights(model, source)
    assert f"1 mismatched: {KEY}" in str(caught.value)
    assert all(tensor.device.type == device for tensor in model.state_dict().values())


def test_not_strict_leaves_out_what_cannot_be_loaded(state: State) -> None:
    for make, _ in REFUSED.values():
        model = tiny()
        own = model.state_dict()[KEY].clone()
        report = load_weights(model, {**state, KEY: make(state[KEY])}, strict=False)
        assert [text.partition(" ")[0] for text in report.mismatched] == [KEY]
        assert_equal(model.state_dict(), state | {KEY: own})


def test_a_distributed_tensor_is_refused_with_the_mend(state: State) -> None:
    from torch.distributed.tensor import DTensor

    class Sharded(DTensor):
        @staticmethod
        def __new__(cls) -> Any:  # without a process group
            return torch.Tensor._make_subclass(cls, torch.ones(3))

    assert "give its full_tensor()" in refused(tiny(), {**state, KEY: Sharded()})


LOADED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "parameter": lambda t: nn.Parameter(t),
    "buffer": lambda t: nn.Buffer(t),
    "result": lambda t: nn.Parameter(t) * 1,
    "double": lambda t: t.double(),
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "strided": lambda t: torch.stack([t, -t], -1)[..., 0],
    "view of more": lambda t: torch.cat([torch.ones(1000), t.flatten()])[1000:].view_as(t),
    "negative view": lambda t: torch.complex(t, -t).conj().imag,
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("change", LOADED)
def test_a_value_loads_exactly_however_it_is_held(state: State, change: str, device: str) -> None:
    source: dict[str, Any] = {**state, KEY: LOADED[change](state[KEY])}
    grad = source[KEY].requires_grad
    model = tiny(device=device)
    assert load_weights(model, source).fits
    assert_equal(model.state_dict(), state)
    assert source[KEY].requires_grad == grad
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not any(buffer.requires_grad for buffer in model.buffers())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_less_precise_numbers_load_exactly(state: State, dtype: torch.dtype) -> None:
    source = {key: t.to(dtype) if t.is_floating_point() else t for key, t in state.items()}
    expected = {key: t.float() if t.is_floating_point() else t for key, t in source.items()}
    for device in ("cpu", "meta"):
        model = tiny(device=device)
        assert load_weights(model, source).fits
        assert_equal(model.state_dict(), expected)


def test_values_take_the_precision_of_the_model(state: State) -> None:
    for dtype in (torch.float64, torch.float16):
        model = tiny(dtype=dtype)
        load_weights(model, state)
        assert model.head.fc.weight.dtype == dtype
        assert torch.equal(model.head.fc.weight, state["head.fc.weight"].to(dtype))
    refused(tiny(dtype=torch.float16), {**state, KEY: state[KEY] * 1e9})


def test_infinite_and_undefined_numbers_load_as_they_are(state: State) -> None:
    state[KEY][0], state[KEY][1] = torch.inf, torch.nan
    for dtype in (torch.float32, torch.float16):
        model = tiny(dtype=dtype)
        load_weights(model, state)
        torch.testing.assert_close(model.state_dict()[KEY], state[KEY].to(dtype), equal_nan=True, rtol=0, atol=0)


def test_counters_load_where_nothing_of_them_is_lost(state: State) -> None:
    for value in (torch.tensor(7.0), torch.tensor(7, dtype=torch.int32), torch.tensor(7.0, dtype=torch.float16)):
        model = tiny()
        load_weights(model, {**state, COUNT: value})
        assert model.state_dict()[COUNT].dtype == torch.int64
        assert model.state_dict()[COUNT] == 7
    for value in (torch.tensor(7.5), torch.tensor(torch.nan), torch.tensor(7j)):
        assert COUNT in refused(tiny(), {**state, COUNT: value})


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_values_that_share_memory_load_apart(state: State, device: str) -> None:
    """Training changes one element without changing another."""
    zeros = torch.zeros(16)
    shared = {"stages.1.0.branch.norm2.bias": zeros, "stages.1.1.branch.norm2.bias": zeros}
    expanded = {"stages.2.0.branch.norm2.bias": torch.zeros(1).expand(16)}
    part = {"stages.0.0.branch.norm2.bias": zeros[4:12]}
    source = {**state, **shared, **expanded, **part}
    model = tiny(device=device)
    assert load_weights(model, source).fits
    assert_equal(model.state_dict(), source)
    with torch.no_grad():
        model.state_dict()["stages.1.0.branch.norm2.bias"][5] = 1
        model.state_dict()["stages.2.0.branch.norm2.bias"][5] = 1
    changed = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, source[key])}
    assert {"stages.1.1.branch.norm2.bias", "stages.0.0.branch.norm2.bias"} & changed == set() or device == "meta"
    sums = [model.state_dict()[key].sum().item() for key in (*shared, *expanded, *part)]
    assert sums == [1, 0, 1, 0]


def test_tensors_of_inference_mode_can_be_trained_on(state: State) -> None:
    with torch.inference_mode():
        source = copied(state)
    model = tiny(device="meta", weights=source)
    model(torch.randn(2, 3, 32, 32)).sum().backward()


# What fails while it is written


class Stubborn(nn.Module):
    """A part that refuses what it is given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        if (self.weight > 5).any():
            raise ValueError("more than 5")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_part_that_fails_to_load_leaves_the_model_unchanged(mine: str, device: str) -> None:
    register(Component("attention", mine, Stubborn), plugin=mine)
    spec = Model("stubborn", "mine", ref("cifar"), stages(ref("basic", attention=ref(mine)), (1, 1), (4, 8)))
    source = create_model(spec)
    load_weights(create_model(spec, device=device), source.state_dict())
    with torch.no_grad():
        source.stages[1][0].branch.attention.weight.fill_(6)
    model = create_model(spec, device=device)
    if device == "cpu":
        assert "more than 5. The model is unchanged" in refused(model, source.state_dict())
    else:
        held = dict(model.named_parameters())
        with pytest.raises(WeightsError, match="more than 5"):
            load_weights(model, source.state_dict())
        assert all(tensor.is_meta for tensor in model.state_dict().values())
        assert all(held[name] is parameter for name, parameter in model.named_parameters())


def test_loading_copies_each_tensor_once(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[torch.Tensor] = []
    copy = torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda mine, given: (copies.append(mine), copy(mine, given))[1])
    monkeypatch.setattr(torch.Tensor, "clone", None)
    model = tiny()
    copies.clear()
    load_weights(model, state)
    assert len(copies) == len(state)
    monkeypatch.undo()
    assert_equal(model.state_dict(), state)


def test_an_interruption_of_loading_comes_when_all_is_loaded(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    model, copy = tiny(), torch.Tensor.copy_
    interruptions = iter([None, None, KeyboardInterrupt])

    def interrupted(tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if kind := next(interruptions, None):
            raise kind
        return copy(tensor, value)

    monkeypatch.setattr(torch.Tensor, "copy_", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_weights(model, state)
    assert_equal(model.state_dict(), state)


def test_weights_that_lie_across_a_tensor_of_the_model_load_whole_or_not_at_all(state: State) -> None:
    model = tiny()
    shared = torch.randn(40)
    model.stem.norm.running_mean = shared[: len(state["stem.norm.running_mean"])]
    across = {**state, "stem.norm.running_mean": shared[1 : 1 + len(state["stem.norm.running_mean"])]}
    assert "cannot be written" in refused(model, across)


def test_a_network_with_a_tensor_that_is_one_number_throughout_is_unchanged(state: State) -> None:
    model = tiny()
    model.stages[0][0].branch.norm2.running_var = torch.ones(1).expand(
        len(state["stages.0.0.branch.norm2.running_var"])
    )
    assert "cannot be written" in refused(model, state)


def test_a_hook_that_fails_after_loading_leaves_the_model_unchanged(state: State) -> None:
    model = tiny()

    def fail(network: nn.Module, keys: Any) -> None:
        raise RuntimeError("not this one")

    model.register_load_state_dict_post_hook(fail)
    assert "not this one. The model is unchanged" in refused(model, state)


def test_a_network_that_cannot_be_written_to_is_unchanged(state: State) -> None:
    model = tiny()
    with torch.inference_mode():
        model.head.fc.bias = nn.Parameter(torch.ones(5), requires_grad=False)
    assert "cannot be written" in refused(model, state)


class Remembering(nn.Module):
    """A part that keeps more than tensors in its state."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seen: dict[str, int] = {"images": 0}
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    def get_extra_state(self) -> dict[str, int]:
        return dict(self.seen)

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.seen = {"images": state["images"]}


def test_what_a_part_keeps_beside_tensors_is_loaded_and_kept_when_that_fails(mine: str) -> None:
    register(Component("attention", mine, Remembering), plugin=mine)
    spec = Model("remembering", "mine", ref("cifar"), stages(ref("basic", attention=ref(mine)), (1, 1), (4, 8)))
    source, model = create_model(spec), create_model(spec)
    source.stages[0][0].branch.attention.seen["images"] = 7
    state = source.state_dict()
    broken = {**state, "stages.1.0.branch.attention._extra_state": {}}
    with pytest.raises(WeightsError, match="unchanged"):
        load_weights(model, broken)
    assert model.stages[0][0].branch.attention.seen == {"images": 0}
    assert load_weights(model, state).fits
    assert model.stages[0][0].branch.attention.seen == {"images": 7}


def test_a_network_partly_on_meta_copies_where_it_has_values(state: State) -> None:
    model = tiny()
    model.head.fc = nn.Linear(16, 5, device="meta")
    assert load_weights(model, state).fits
    assert_equal(model.state_dict(), state)
    loaded = model.state_dict()
    taken = {key for key in state if loaded[key].data_ptr() == state[key].data_ptr()}
    assert taken == {"head.fc.weight", "head.fc.bias"}


def test_arrays_that_the_model_does_not_have_do_not_matter(state: State) -> None:
    extra = {"epoch": 3, "mean": numpy.ones(3), "names": ["a"], "optimizer": {"lr": 0.1}}
    assert load_weights(tiny(), {**state, **extra}).fits
