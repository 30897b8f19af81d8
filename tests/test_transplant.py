"""transplant finds what corresponds by what is computed, copies it, and says where two networks part."""

from __future__ import annotations

import copy
import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convzoo
from convzoo.network.keys import key_map
from convzoo.testing import Transplant, TransplantError, transplant
from convzoo.testing.parity import reference_model, reference_of

Layers = list[nn.Module]
MODULE = importlib.import_module("convzoo.testing.transplant.align")


def _images(channels: int = 3, size: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


class Composed(nn.Module):
    """Layers by number, and a function of them that says how they run."""

    def __init__(self, run: Callable[[nn.ModuleList, torch.Tensor], Any], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.run = run

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(self.layers, x)


def _chain(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _conv(inputs: int = 4, outputs: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def _moved(result: Transplant) -> set[tuple[str, str]]:
    """The layers that correspond, by their names."""
    return {(a.rpartition(".")[0], b.rpartition(".")[0]) for a, b in result.mapping.items()}


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _assert_same_state(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def _refused(reference: nn.Module, model: nn.Module, images: torch.Tensor) -> str:
    """The message, once it is sure that nothing was done."""
    before = _state(reference), _state(model)
    with pytest.raises(TransplantError) as caught:
        transplant(reference, model, images)
    _assert_same_state(reference, before[0])
    _assert_same_state(model, before[1])
    return str(caught.value)


# On smaller images the 7x7 kernels of CBAM and the dilated ones of SK would partly see nothing but padding.
PAIRS = [("resnet18", "timm", 64), ("cbam_resnet18", "timm", 128), ("skresnet18", "timm", 96)]
MORE = ["resnet50_gn", "seresnet50", "ecaresnet26t", "resnest50", "densenet121"]


@pytest.mark.parametrize(
    ("name", "library", "size"),
    [
        *PAIRS,
        ("densenet121", "torchvision", 64),
        *(pytest.param(name, "timm", 64, marks=pytest.mark.large) for name in MORE),
        pytest.param("resnet50", "torchvision", 64, marks=pytest.mark.large),
    ],
)
def test_finds_the_key_map_of_a_variant_by_itself(name: str, library: str, size: int) -> None:
    wanted = reference_of(name, library)
    reference, model = reference_model(wanted), convzoo.create_model(name, **dict(wanted.overrides))
    result = transplant(reference, model, _images(size=size))
    assert result.equal, result
    assert result.output_shapes == ((2, 1000),)
    assert result.by_order == ()
    # What two identical branches may swap, nobody can tell; of these networks none has any.
    assert result.mapping == {theirs: ours for ours, theirs in key_map(model).items()}
    state = reference.state_dict()
    _assert_same_state(model, {ours: state[theirs] for ours, theirs in key_map(model).items()})


class Paper(nn.Module):
    """A residual block with squeeze-and-excitation as research code has it: bare tensors, and the shortcut first."""

    def __init__(self) -> None:
        super().__init__()
        shapes = {"w1": (8, 4, 3, 3), "w2": (8, 8, 3, 3), "ws": (8, 4, 1, 1)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape) / 5))
        for number in "12s":
            setattr(self, f"g{number}", nn.Parameter(torch.ones(8) if number != "2" else torch.zeros(8)))
            setattr(self, f"b{number}", nn.Parameter(torch.zeros(8)))
            self.register_buffer(f"m{number}", torch.zeros(8))
            self.register_buffer(f"v{number}", torch.ones(8))
        self.squeeze, self.excite = nn.Linear(8, 2), nn.Linear(2, 8)
        nn.init.uniform_(self.squeeze.bias, 1, 2)  # no dead unit

    def norm(self, x: torch.Tensor, n: str) -> torch.Tensor:
        mean, var, weight, bias = (getattr(self, letter + n) for letter in "mvgb")
        return F.batch_norm(x, mean, var, weight, bias, self.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.norm(F.conv2d(x, self.ws, stride=2), "s")
        y = F.relu(self.norm(F.conv2d(x, self.w1, stride=2, padding=1), "1"), inplace=True)
        y = self.norm(F.conv2d(y, self.w2, padding=1), "2")
        gate = self.excite(self.squeeze(y.mean((2, 3))).relu()).sigmoid()
        return F.relu(shortcut + y * gate[:, :, None, None])


class Ours(nn.Module):
    """The same of modules: the shortcut last, 1x1 convolutions for the linear layers, and other names."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(4, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
        )
        self.branch = nn.Sequential(
            nn.Conv2d(4, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, 1, 1, bias=False),
            nn.BatchNorm2d(8),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.branch(x)
        y = y * self.se(y)
        return torch.relu(y + self.shortcut(x))


def test_bare_tensors_another_order_and_linear_layers_for_convolutions_correspond() -> None:
    reference, model = Paper(), Ours()
    result = transplant(reference, model, _images(4, 16))
    assert result.equal, result
    assert result.divergence is None
    assert result.mapping["ws"] == "shortcut.0.weight"
    assert result.mapping["v2"] == "branch.4.running_var"
    assert result.mapping["squeeze.weight"] == "se.1.weight"
    assert torch.equal(model.se[3].weight.flatten(1), reference.excite.weight)


def test_what_fresh_networks_hide_is_seen() -> None:
    """The last norm of the branch is 0 in Paper: what stands before it shows only when it is jittered."""
    model = Ours()
    model.branch[2] = nn.Identity()
    result = transplant(Paper(), model, _images(4, 16))
    assert result.largest_difference > 1e-3
    assert result.divergence is not None
    assert (result.divergence.where, result.divergence.model) == ("input", "branch.3.weight")
    # The layers behind it are found by what runs before them.
    assert result.mapping["w2"] == "branch.3.weight"
    assert result.mapping["g2"] == "branch.4.weight"
    assert result.by_order[:2] == ("branch.3.weight", "branch.4.weight")
    assert not any(name.startswith("shortcut") for name in result.by_order)


def test_equal_branches_that_run_in_another_order_are_told_apart_by_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forwards(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        for i in range(0, len(layers), 3):
            first, second = layers[i](x), layers[i + 1](x)
            x = x + layers[i + 2](torch.cat([first, second], 1).relu())
        return x

    def backwards(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        for i in range(0, len(layers), 3):
            second = layers[i](x)
            x = x + layers[i + 2](torch.cat([layers[i + 1](x), second], 1).relu())
        return x

    def layers() -> Layers:
        return [layer for _ in range(8) for layer in (_conv(), _conv(), _conv(8, 4))]

    # Every block takes a run more, and every run gets farther.
    monkeypatch.setattr(MODULE, "PATIENCE", 1)
    result = transplant(Composed(forwards, *layers()), Composed(backwards, *layers()), _images(4, 8))
    assert result.equal, result
    assert _moved(result) >= {(f"layers.{3 * i}", f"layers.{3 * i + 1}") for i in range(8)}
    assert result.by_order == ()


def test_a_choice_made_early_is_found_behind_many_that_do_not_matter() -> None:
    """Two streams that meet only at the end, each with pairs of branches of its own that meet at once."""

    def stream(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        for i in range(0, len(layers), 2):
            x = (layers[i](x) + layers[i + 1](x)).tanh()
        return x

    def forwards(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([stream(layers[:16], x), stream(layers[16:], x)], 1)

    def backwards(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        second = stream(layers[:16], x)
        return torch.cat([stream(layers[16:], x), second], 1)

    reference, model = (Composed(run, *(_conv() for _ in range(32))) for run in (forwards, backwards))
    result = transplant(reference, model, _images(4, 8))
    assert result.equal, result
    assert ("layers.0", "layers.16") in _moved(result)


def test_the_search_for_another_choice_ends_with_the_best() -> None:
    runs: list[int] = []

    def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        for i in range(0, len(layers), 3):
            x = layers[i + 2](torch.cat([layers[i](x), layers[i + 1](x)], 1)).tanh()
        return x

    def layers() -> Layers:
        return [layer for _ in range(10) for layer in (_conv(), _conv(), _conv(8, 4))]

    reference, model = Composed(run, *layers()), Composed(lambda layers, x: run(layers, x) + 1, *layers())
    result = transplant(reference, model, _images(4, 8))
    assert str(result.divergence) == "the output of the network differs by 1"
    assert result.largest_difference == pytest.approx(1)
    assert _moved(result) == {(f"layers.{i}", f"layers.{i}") for i in range(30)}
    assert len(runs) < MODULE.PATIENCE + 10


def test_options_tell_equal_branches_apart() -> None:
    def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return sum((layer(x) for layer in layers), torch.zeros(()))

    def branches() -> list[nn.Module]:
        dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        return [_conv(), dilated, nn.Conv2d(4, 4, (1, 3), padding="same"), nn.Conv2d(4, 4, (3, 1), padding="same")]

    reference, model = Composed(run, *branches()), Composed(run, *reversed(branches()))
    result = transplant(reference, model, _images(4, 8))
    assert result.equal, result
    assert _moved(result) == {(f"layers.{i}", f"layers.{3 - i}") for i in range(4)}

    other = Composed(lambda layers, x: run(layers, x.relu()), *reversed(branches()[:2]))
    assert ("layers.0", "layers.1") in _moved(transplant(Composed(run, *branches()[:2]), other, _images(4, 8)))


def test_a_shared_layer_corresponds_to_a_shared_layer_only() -> None:
    def twice(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return layers[1](layers[0](layers[0](x).relu()))

    reference, model = Composed(twice, _conv(), _conv()), Composed(twice, _conv(), _conv())
    model.again = model.layers[0]
    result = transplant(reference, model, _images(4, 8))
    assert result.equal, result
    assert result.mapping == {name: name for name in reference.state_dict()}
    assert result.unused_model == ()

    def thrice(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return layers[1](layers[2](layers[0](x).relu()))

    message = _refused(reference, Composed(thrice, _conv(), _conv(), _conv()), _images(4, 8))
    assert "operation 1: conv2d of layers.0, weight (4, 4, 3, 3), bias (4,), used 2 times" in message
    assert "operation 2: conv2d of layers.2, weight (4, 4, 3, 3), bias (4,)" in message


class Tied(nn.Module):
    """Two weights and two biases, combined by number."""

    def __init__(self, *pairs: tuple[int, int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(4, 4, 1, 1) for _ in range(2)])
        self.biases = nn.ParameterList([torch.randn(4) for _ in range(2)])
        self.pairs = pairs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight, bias in self.pairs:
            x = F.conv2d(x, self.weights[weight], self.biases[bias]).relu()
        return x


def test_tensors_that_are_shared_in_other_pairs_are_refused() -> None:
    reference = Tied((0, 0), (0, 1), (1, 0), (1, 1))
    assert transplant(reference, Tied((1, 0), (1, 1), (0, 0), (0, 1)), _images(4, 8)).equal
    assert "shares its tensors" in _refused(reference, Tied((0, 0), (0, 0), (1, 1), (1, 1)), _images(4, 8))


def test_what_never_runs_is_reported_and_left_alone() -> None:
    reference = Composed(lambda layers, x: layers[0](x), _conv(), nn.Linear(3, 3))
    model = Composed(lambda layers, x: layers[1](x), nn.BatchNorm2d(5), _conv())
    before = _state(model)
    result = transplant(reference, model, _images(4, 8))
    assert (result.equal, result.largest_difference) == (False, 0)
    assert result.unused_reference == ("layers.1.weight", "layers.1.bias")
    # A counter of batches need not be carried over.
    assert result.unused_model == tuple(
        f"layers.0.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    )
    assert "unused in the reference, 2: layers.1.weight, layers.1.bias" in str(result)
    _assert_same_state(model, before)

    result = transplant(reference, model, _images(4, 8), ignore=("layers.1.*", "layers.0.*"))
    assert result.equal, result
    _assert_same_state(model.layers[0], {k[9:]: v for k, v in before.items() if k.startswith("layers.0.")})
    assert torch.equal(model.layers[1].weight, reference.layers[0].weight)


def test_wrong_shapes_are_refused_with_names_on_both_sides() -> None:
    reference = nn.Sequential(_conv(), nn.BatchNorm2d(4), _conv(), nn.ReLU(), _conv(kernel=3))
    model = Composed(_chain, _conv(), nn.BatchNorm2d(4), _conv(), nn.ReLU(), _conv(kernel=5))
    message = _refused(reference, model, _images(4, 8))
    assert "only in the reference, 1:\n  operation 4: conv2d of 4, weight (4, 4, 3, 3), bias (4,)" in message
    assert "only in the model, 1:\n  operation 4: conv2d of layers.4, weight (4, 4, 5, 5), bias (4,)" in message
    assert "layers.2" not in message


def test_the_layer_that_is_too_many_is_named() -> None:
    reference = nn.Sequential(_conv(), nn.ReLU(), _conv(4, 8), nn.ReLU(), _conv(8, 4))
    model = nn.Sequential(_conv(), nn.ReLU(), _conv(4, 8), nn.ReLU(), _conv(8, 4), _conv())
    message = _refused(reference, model, _images(4, 8))
    assert "only in the reference, 0:\nonly in the model, 1:\n  operation 4: conv2d of 5," in message


def test_a_bias_on_one_side_only_is_refused() -> None:
    model = nn.Sequential(_conv(bias=False), nn.BatchNorm2d(4))
    message = _refused(nn.Sequential(_conv(), nn.BatchNorm2d(4)), model, _images(4, 8))
    assert "only in the reference, 1:\n  operation 1: conv2d of 0, weight (4, 4, 3, 3), bias (4,)" in message
    assert "only in the model, 1:\n  operation 1: conv2d of 0, weight (4, 4, 3, 3)\n" in message


def test_a_depthwise_convolution_is_no_row_of_kernels() -> None:
    message = _refused(nn.Conv2d(3, 3, 3, groups=3, bias=False), nn.Conv2d(3, 3, (1, 3), bias=False), _images(3, 8))
    assert "(3, 1, 3, 3)" in message
    assert "(3, 3, 1, 3)" in message


def _network(third: nn.Module) -> nn.Module:
    layers: Layers = [_conv(bias=False), nn.BatchNorm2d(4), nn.ReLU(), _conv(bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    layers += [_conv(bias=False), nn.BatchNorm2d(4), third, _conv(bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    return Composed(_chain, *layers)


def test_the_first_place_where_two_networks_part_is_named() -> None:
    reference, model = nn.Sequential(*_network(nn.ReLU6()).layers), _network(nn.SiLU())  # type: ignore[arg-type]
    result = transplant(reference, model, _images(4, 16))
    assert result.largest_difference > 1e-3
    found = result.divergence
    assert found is not None
    assert (found.where, found.op, found.after) == ("input", "conv2d", "layers.7.weight")
    assert (found.reference, found.model) == ("9.weight", "layers.9.weight")
    assert found.difference > 1e-3
    assert str(found) in str(result)
    assert str(found).startswith(
        "the input of conv2d with layers.9.weight (reference: 9.weight), after layers.7.weight,"
    )
    # All before it was found by its input, the rest only by its order.
    assert result.by_order[0] == "layers.9.weight"
    assert len(result.by_order) == 5
    assert _moved(result) == {(name.removeprefix("layers."), name) for _, name in _moved(result)}


def test_an_option_of_a_layer_that_differs_is_named() -> None:
    model = nn.Sequential(_conv(), nn.BatchNorm2d(4, eps=1e-3), nn.ReLU(), _conv())
    result = transplant(nn.Sequential(_conv(), nn.BatchNorm2d(4), nn.ReLU(), _conv()), model, _images(4, 8))
    found = result.divergence
    assert found is not None
    assert (found.where, found.op, found.model) == ("output", "batch_norm", "1.weight")
    assert found.note == "eps 0.001, the reference's 1e-05"


def test_other_sizes_on_the_way_are_a_difference_and_no_error() -> None:
    class Pooled(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).mean((2, 3))

    result = transplant(Pooled(_conv(), _conv()), Pooled(_conv(), nn.MaxPool2d(2), _conv()), _images(4, 8))
    assert result.divergence is not None
    assert result.divergence.note == "shape (2, 4, 4, 4), the reference's (2, 4, 8, 8)"
    assert 0 < result.largest_difference < 100


def test_a_difference_behind_the_last_layer_is_the_networks() -> None:
    result = transplant(nn.Sequential(_conv(), nn.ReLU()), nn.Sequential(_conv(), nn.SiLU()), _images(4, 8))
    assert result.divergence is not None
    assert str(result.divergence).startswith("the output of the network differs by")
    assert result.by_order == ()


def test_outputs_are_compared_by_key_or_else_by_order() -> None:
    reference = Composed(lambda layers, x: {"a": layers[0](x), "b": (x, [layers[1](x)])}, _conv(), _conv())
    model = Composed(lambda layers, x: {"b": (x, [layers[1](x)]), "a": layers[0](x)}, _conv(), _conv())
    result = transplant(reference, model, _images(4, 8))
    assert result.equal, result
    assert len(result.output_shapes) == 3
    tupled = Composed(lambda layers, x: (layers[1](x), x, layers[0](x)), _conv(), _conv())
    assert transplant(reference, tupled, _images(4, 8)).equal
    assert "cannot be compared" in _refused(
        reference, Composed(lambda m, x: (m[0](x), m[1](x)), _conv(), _conv()), _images(4, 8)
    )


def test_the_largest_difference_is_that_of_the_worst_output() -> None:
    reference = Composed(lambda layers, x: (layers[0](x), 100 * x), _conv())
    model = Composed(lambda layers, x: (layers[0](x) + 1, 100 * x + 2), _conv())
    result = transplant(reference, model, _images(4, 8))
    assert result.largest_difference == pytest.approx(2)
    assert result.largest_relative > 0.1


@pytest.mark.parametrize("wrap", [lambda y: y[:, :, ::2], lambda y: (y, y), lambda y: None])
def test_other_outputs_are_refused_and_nothing_is_done(wrap: Callable[[torch.Tensor], object]) -> None:
    reference = Composed(lambda layers, x: layers[0](x), _conv())
    assert "cannot be compared" in _refused(reference, Composed(lambda m, x: wrap(m[0](x)), _conv()), _images(4, 8))


def test_the_reference_stays_as_it_is() -> None:
    reference, model = _network(nn.ReLU()), _network(nn.ReLU())
    calls: list[int] = []
    for network in (reference, model):
        network.train()
        network.layers[4].eval()  # type: ignore[operator, union-attr]
        network(_images(4, 8)).sum().backward()
    reference.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))  # type: ignore[operator, union-attr]
    before, hooks = _state(reference), [dict(m._forward_pre_hooks) for m in reference.modules()]
    grads = [[p.grad.clone() for p in network.parameters()] for network in (reference, model)]  # type: ignore[union-attr]
    modes = [[m.training for m in network.modules()] for network in (reference, model)]
    tensors = [list(network.state_dict(keep_vars=True).values()) for network in (reference, model)]
    assert transplant(reference, model, _images(4, 8)).equal
    _assert_same_state(reference, before)
    assert hooks == [dict(m._forward_pre_hooks) for m in reference.modules()]
    for network, grad, mode, own in zip((reference, model), grads, modes, tensors, strict=True):
        assert mode == [m.training for m in network.modules()]
        assert all(torch.equal(p.grad, g) for p, g in zip(network.parameters(), grad, strict=True))  # type: ignore[arg-type]
        assert all(a is b for a, b in zip(network.state_dict(keep_vars=True).values(), own, strict=True))
        assert all(p.dtype == torch.float32 and p.requires_grad for p in network.parameters())


def test_the_model_gets_the_true_weights_and_not_the_jittered() -> None:
    reference, model = Paper(), Ours()
    nn.init.constant_(model.branch[4].weight, 3)
    transplant(reference, model, _images(4, 16))
    assert torch.equal(model.branch[4].weight, torch.zeros(8))
    assert torch.equal(model.branch[4].running_var, torch.ones(8))


def test_counters_go_with_their_norms() -> None:
    reference, model = nn.Sequential(_conv(), nn.BatchNorm2d(4)), Composed(_chain, _conv(), nn.BatchNorm2d(4))
    reference(_images(4, 8))
    result = transplant(reference, model, _images(4, 8))
    assert result.mapping["1.num_batches_tracked"] == "layers.1.num_batches_tracked"
    assert model.layers[1].num_batches_tracked == 1
    assert (result.unused_reference, result.unused_model) == ((), ())


def test_norms_of_every_kind_are_carried() -> None:
    def layers() -> Layers:
        norms: Layers = [nn.GroupNorm(2, 4), nn.BatchNorm2d(4, affine=False), nn.InstanceNorm2d(4, affine=True)]
        norms += [nn.InstanceNorm2d(4, track_running_stats=True), nn.LayerNorm([4, 8, 8]), nn.PReLU(4), nn.LayerNorm(8)]
        return [layer for norm in norms for layer in (_conv(), norm)]

    reference, model = nn.Sequential(*layers()), Composed(_chain, *layers())
    result = transplant(reference, model, _images(4, 8))
    # A norm that uses the image's own mean takes the bias before it away.
    assert result.idle_model == ("layers.4.bias", "layers.12.bias")
    assert (result.largest_difference, result.divergence) == (0, None)
    assert result.idle_reference == ("4.bias", "12.bias")
    assert transplant(reference, model, _images(4, 8), ignore=result.idle_reference).equal
    assert result.mapping == {name: f"layers.{name}" for name in reference.state_dict()}


def test_a_setting_is_not_taken_for_a_weight() -> None:
    class Scaled(nn.Conv2d):
        def __init__(self) -> None:
            super().__init__(4, 4, 1)
            self.register_buffer("scale", torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * self.get_buffer("scale").item()

    result = transplant(Scaled(), Composed(lambda layers, x: layers[0](x) * 2, _conv(kernel=1)), _images(4, 8))
    assert (result.largest_difference, result.unused_reference) == (0, ("scale",))


class Standardised(nn.Conv2d):
    """Weights that are computed from others, as weight standardisation and learned groups have it."""

    def __init__(self, by_hand: bool) -> None:
        super().__init__(4, 4, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(4, 1, 1, 1))
        self.register_buffer("mask", torch.ones(4, 4, 1, 1))
        self.by_hand = by_hand

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.by_hand:
            centred = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            weight = centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        else:
            weight = F.layer_norm(self.weight, self.weight.shape[1:])
        weight = weight.clone().mul_(self.gain.expand_as(weight)) * self.get_buffer("mask")
        return F.conv2d(x, weight, self.bias, padding=1)


def test_weights_that_are_computed_first_are_carried() -> None:
    reference = nn.Sequential(Standardised(True), nn.ReLU(), Standardised(True))
    model = Composed(_chain, Standardised(False), nn.ReLU(), Standardised(False))
    result = transplant(reference, model, _images(4, 8))
    assert result.equal, result
    assert (result.by_order, result.divergence) == ((), None)
    assert result.mapping == {name: f"layers.{name}" for name in reference.state_dict()}


def test_parametrized_weights_are_carried() -> None:
    def layers() -> Layers:
        return [nn.utils.parametrizations.weight_norm(_conv()) for _ in range(2)]

    result = transplant(nn.Sequential(*layers()), Composed(_chain, *layers()), _images(4, 8))
    assert result.equal, result
    assert len(result.mapping) == 6
    assert result.by_order == ()


def test_channels_may_stand_last_and_sizes_of_1_may_be_missing() -> None:
    def last(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        x = layers[1](layers[0](x.permute(0, 2, 3, 1)).relu()).permute(0, 3, 1, 2)
        return x * layers[2](x.mean((2, 3))[:, None]).sigmoid().permute(0, 2, 1)[..., None]

    def second(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        x = layers[1](layers[0](x.flatten(2)).relu()[..., None]).unflatten(2, (8, 8)).squeeze(-1)
        return x * layers[2](x.mean((2, 3), keepdim=True).transpose(1, 2)).sigmoid().transpose(1, 2)

    reference = Composed(last, nn.Linear(4, 6), nn.Linear(6, 4), nn.Conv1d(1, 1, 4, bias=False))
    model = Composed(second, nn.Conv1d(4, 6, 1), nn.Conv2d(6, 4, 1), nn.Conv2d(1, 1, (4, 1), bias=False))
    reference.layers[2] = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    model.layers[2] = nn.Conv2d(1, 1, (3, 1), padding=(1, 0), bias=False)
    result = transplant(reference, model, _images(4, 8))
    assert result.equal, result
    assert result.by_order == ()
    assert model.layers[2].weight.shape == (1, 1, 3, 1)


def test_features_written_into_a_buffer_are_followed() -> None:
    def concatenated(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            x = torch.cat([x, layer(x).relu()], 1)
        return x

    def written(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(x.shape[0], 4 + 2 * len(layers), *x.shape[2:], dtype=x.dtype)
        out[:, :4] = x
        for i, layer in enumerate(layers):
            out[:, 4 + 2 * i : 6 + 2 * i] = layer(out[:, : 4 + 2 * i]).relu_()
        return out

    reference, model = (Composed(run, *(_conv(4 + 2 * i, 2) for i in range(3))) for run in (concatenated, written))
    assert transplant(reference, model, _images(4, 8)).equal


class Scale(nn.Module):
    """A scale by channel, of a shape and in a way of its own."""

    def __init__(self, way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *shape: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(shape))
        self.way = way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.way(x, self.gain)


@pytest.mark.parametrize(
    "way",
    [
        lambda x, gain: gain * x,
        lambda x, gain: x.mul_(gain),
        lambda x, gain: x * gain.expand_as(x),
        lambda x, gain: x * (gain * torch.ones_like(x)),
        lambda x, gain: x * (x.new_ones(4, 1, 1) * gain),
        lambda x, gain: x * (gain * torch.tensor(1.0)),
        lambda x, gain: x * gain.type_as(x).data,
    ],
)
def test_only_values_count_and_not_how_shapes_are_taken(way: Any) -> None:
    reference = nn.Sequential(_conv(), Scale(way, 1, 4, 1, 1), _conv())
    model = Composed(_chain, _conv(), Scale(lambda x, gain: x * gain[:, None, None], 4), _conv())
    result = transplant(reference, model, _images(4, 8))
    assert result.equal, result
    assert (result.divergence, result.by_order) == (None, ())
    assert result.mapping["1.gain"] == "layers.1.gain"


@pytest.mark.parametrize(
    "ones",
    [
        lambda: torch.ones(2, 4, 8, 8, dtype=torch.float64),
        lambda: torch.tensor([1.0] * 512, dtype=torch.float64).view(2, 4, 8, 8),
    ],
)
def test_memory_that_is_used_again_is_not_mistaken_for_what_stood_there(ones: Callable[[], torch.Tensor]) -> None:
    def way(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        for _ in range(4):
            x.relu()  # gone at once
        return x * (ones() * gain)

    reference = nn.Sequential(_conv(), Scale(way, 4, 1, 1), _conv())
    model = nn.Sequential(_conv(), Scale(lambda x, gain: x * gain, 4, 1, 1), _conv())
    result = transplant(reference, model, _images(4, 8))
    assert (result.divergence, result.by_order) == (None, ())


def test_state_that_is_written_over_is_state_no_more() -> None:
    def way(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        out = gain.repeat(2, 1, 8, 8)
        out[:, :2] = x[:, :2]
        return out

    reference = nn.Sequential(_conv(), Scale(way, 1, 4, 1, 1), _conv())
    model = nn.Sequential(_conv(), Scale(lambda x, gain: way(x, gain).clone(), 1, 4, 1, 1), _conv())
    assert transplant(reference, model, _images(4, 8)).equal


def test_activations_that_are_overwritten_are_compared_as_they_were() -> None:
    def written(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        y = layers[0](x)
        return layers[1](x.mul_(2) + y.relu_())

    reference = Composed(written, _conv(), _conv())
    model = Composed(lambda layers, x: layers[1](2 * (x + 1) + layers[0](x + 1).relu()), _conv(), _conv())
    result = transplant(reference, model, _images(4, 8))
    assert (result.divergence, result.by_order) == (None, ())


def test_several_inputs_are_passed_on_and_stay_as_they_are() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.conv = nn.Embedding(3, 4), _conv()

        def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return self.conv(x.mul_(2)) + self.embed(label)[:, :, None, None]

    images = _images(4, 8)
    before = images.clone()
    assert transplant(Two(), Two(), (images, torch.tensor([2, 0]))).equal
    assert torch.equal(images, before)


def test_every_call_gives_the_same_and_draws_no_random_numbers_of_others() -> None:
    reference, model = _network(nn.ReLU()), _network(nn.SiLU())
    before = torch.get_rng_state()
    results = [transplant(reference, copy.deepcopy(model), _images(4, 8))]
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    results += [transplant(reference, copy.deepcopy(model), _images(4, 8))]
    assert dataclasses.astuple(results[0]) == dataclasses.astuple(results[1])


def test_what_is_random_in_training_only_does_not_run() -> None:
    reference, model = nn.Sequential(_conv(), nn.Dropout(), _conv()), nn.Sequential(_conv(), _conv())
    assert transplant(reference.train(), model.train(), _images(4, 8)).equal


def test_a_model_without_values_is_refused() -> None:
    model = convzoo.create_model("resnet20", device="meta")
    with pytest.raises(TransplantError, match="meta device"):
        transplant(convzoo.create_model("resnet20"), model, _images(3, 32))


def test_the_report_is_short_and_is_what_a_failed_assertion_shows() -> None:
    result = transplant(nn.Sequential(_conv(), nn.ReLU()), Composed(_chain, _conv(), nn.ReLU()), _images(4, 8))
    assert str(result) == repr(result)
    assert str(result) == "equal, and 2 tensors copied; outputs (2, 4, 8, 8) differ by at most 0 (relative 0)"
    assert result.mapping["0.weight"] == "layers.0.weight"
