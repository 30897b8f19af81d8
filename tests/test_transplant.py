"""transplant finds what corresponds by what is computed, copies it, and leaves all else as it is."""

from __future__ import annotations

import copy
import dataclasses
import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convzoo
from convzoo.network.keys import key_map
from convzoo.testing import TransplantError, transplant
from convzoo.testing.parity import reference_model, reference_of

from .nets import Composed, Layers, assert_same_state, chain, conv, four_convs, moved, random_images, refused, state_of

MODULE = importlib.import_module("convzoo.testing.transplant.align")


# On smaller images the 7x7 kernels of CBAM and the dilated ones of SK would partly see nothing but padding.
PAIRS = [("resnet18", "timm", 64), ("cbam_resnet18", "timm", 128), ("skresnet18", "timm", 96)]
MORE = ["resnet50_gn", "seresnet50", "ecaresnet26t", "resnest50", "densenet121"]


@pytest.mark.parametrize(
    ("name", "library", "size"),
    [
        *PAIRS,
        pytest.param("densenet121", "torchvision", 64, marks=pytest.mark.large),
        *(pytest.param(name, "timm", 64, marks=pytest.mark.large) for name in MORE),
        pytest.param("resnet50", "torchvision", 64, marks=pytest.mark.large),
    ],
)
def test_finds_the_key_map_of_a_variant_by_itself(name: str, library: str, size: int) -> None:
    wanted = reference_of(name, library)
    reference, model = reference_model(wanted), convzoo.create_model(name, **dict(wanted.overrides))
    result = transplant(reference, model, random_images(size=size))
    assert result.equal, result
    assert result.output_shapes == ((2, 1000),)
    assert result.by_order == ()
    # What two identical branches may swap, nobody can tell; of these networks none has any.
    assert result.mapping == {theirs: ours for ours, theirs in key_map(model).items()}
    state = reference.state_dict()
    assert_same_state(model, {ours: state[theirs] for ours, theirs in key_map(model).items()})


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
    result = transplant(reference, model, random_images(4, 16))
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
    result = transplant(Paper(), model, random_images(4, 16))
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
        return [layer for _ in range(8) for layer in (conv(), conv(), conv(8, 4))]

    # Every block takes a run more, and every run gets farther.
    monkeypatch.setattr(MODULE, "PATIENCE", 1)
    result = transplant(Composed(forwards, *layers()), Composed(backwards, *layers()), random_images(4, 8))
    assert result.equal, result
    assert moved(result) >= {(f"layers.{3 * i}", f"layers.{3 * i + 1}") for i in range(8)}
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

    reference, model = (Composed(run, *(conv() for _ in range(32))) for run in (forwards, backwards))
    result = transplant(reference, model, random_images(4, 8))
    assert result.equal, result
    assert ("layers.0", "layers.16") in moved(result)


def test_the_search_for_another_choice_ends_with_the_best() -> None:
    runs: list[int] = []

    def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        for i in range(0, len(layers), 3):
            x = layers[i + 2](torch.cat([layers[i](x), layers[i + 1](x)], 1)).tanh()
        return x

    def layers() -> Layers:
        return [layer for _ in range(10) for layer in (conv(), conv(), conv(8, 4))]

    reference, model = Composed(run, *layers()), Composed(lambda layers, x: run(layers, x) + 1, *layers())
    result = transplant(reference, model, random_images(4, 8))
    assert str(result.divergence) == "the output of the network differs by 1"
    assert result.largest_difference == pytest.approx(1)
    assert moved(result) == {(f"layers.{i}", f"layers.{i}") for i in range(30)}
    assert len(runs) < MODULE.PATIENCE + 10


def test_options_tell_equal_branches_apart() -> None:
    def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return sum((layer(x) for layer in layers), torch.zeros(()))

    def branches() -> list[nn.Module]:
        dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        return [conv(), dilated, nn.Conv2d(4, 4, (1, 3), padding="same"), nn.Conv2d(4, 4, (3, 1), padding="same")]

    reference, model = Composed(run, *branches()), Composed(run, *reversed(branches()))
    result = transplant(reference, model, random_images(4, 8))
    assert result.equal, result
    assert moved(result) == {(f"layers.{i}", f"layers.{3 - i}") for i in range(4)}

    other = Composed(lambda layers, x: run(layers, x.relu()), *reversed(branches()[:2]))
    assert ("layers.0", "layers.1") in moved(transplant(Composed(run, *branches()[:2]), other, random_images(4, 8)))


def test_a_shared_layer_corresponds_to_a_shared_layer_only() -> None:
    def twice(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return layers[1](layers[0](layers[0](x).relu()))

    reference, model = Composed(twice, conv(), conv()), Composed(twice, conv(), conv())
    model.again = model.layers[0]
    result = transplant(reference, model, random_images(4, 8))
    assert result.equal, result
    assert result.mapping == {name: name for name in reference.state_dict()}
    assert result.unused_model == ()

    def thrice(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        return layers[1](layers[2](layers[0](x).relu()))

    message = refused(reference, Composed(thrice, conv(), conv(), conv()), random_images(4, 8))
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
    assert transplant(reference, Tied((1, 0), (1, 1), (0, 0), (0, 1)), random_images(4, 8)).equal
    assert "shares its tensors" in refused(reference, Tied((0, 0), (0, 0), (1, 1), (1, 1)), random_images(4, 8))


def test_what_never_runs_is_reported_and_left_alone() -> None:
    reference = Composed(lambda layers, x: layers[0](x), conv(), nn.Linear(3, 3))
    model = Composed(lambda layers, x: layers[1](x), nn.BatchNorm2d(5), conv())
    before = state_of(model)
    result = transplant(reference, model, random_images(4, 8))
    assert (result.equal, result.largest_difference) == (False, 0)
    assert result.unused_reference == ("layers.1.weight", "layers.1.bias")
    # A counter of batches need not be carried over.
    assert result.unused_model == tuple(
        f"layers.0.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    )
    assert "unused in the reference, 2: layers.1.weight, layers.1.bias" in str(result)
    assert_same_state(model, before)

    result = transplant(reference, model, random_images(4, 8), ignore=("layers.1.*", "layers.0.*"))
    assert result.equal, result
    assert_same_state(model.layers[0], {k[9:]: v for k, v in before.items() if k.startswith("layers.0.")})
    assert torch.equal(model.layers[1].weight, reference.layers[0].weight)


def test_the_reference_stays_as_it_is() -> None:
    reference, model = four_convs(nn.ReLU()), four_convs(nn.ReLU())
    calls: list[int] = []
    for network in (reference, model):
        network.train()
        network.layers[4].eval()  # type: ignore[operator, union-attr]
        network(random_images(4, 8)).sum().backward()
    reference.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))  # type: ignore[operator, union-attr]
    before, hooks = state_of(reference), [dict(m._forward_pre_hooks) for m in reference.modules()]
    grads = [[p.grad.clone() for p in network.parameters()] for network in (reference, model)]  # type: ignore[union-attr]
    modes = [[m.training for m in network.modules()] for network in (reference, model)]
    tensors = [list(network.state_dict(keep_vars=True).values()) for network in (reference, model)]
    assert transplant(reference, model, random_images(4, 8)).equal
    assert_same_state(reference, before)
    assert hooks == [dict(m._forward_pre_hooks) for m in reference.modules()]
    for network, grad, mode, own in zip((reference, model), grads, modes, tensors, strict=True):
        assert mode == [m.training for m in network.modules()]
        assert all(torch.equal(p.grad, g) for p, g in zip(network.parameters(), grad, strict=True))  # type: ignore[arg-type]
        assert all(a is b for a, b in zip(network.state_dict(keep_vars=True).values(), own, strict=True))
        assert all(p.dtype == torch.float32 and p.requires_grad for p in network.parameters())


def test_the_model_gets_the_true_weights_and_not_the_jittered() -> None:
    reference, model = Paper(), Ours()
    nn.init.constant_(model.branch[4].weight, 3)
    transplant(reference, model, random_images(4, 16))
    assert torch.equal(model.branch[4].weight, torch.zeros(8))
    assert torch.equal(model.branch[4].running_var, torch.ones(8))


def test_counters_go_with_their_norms() -> None:
    reference, model = nn.Sequential(conv(), nn.BatchNorm2d(4)), Composed(chain, conv(), nn.BatchNorm2d(4))
    reference(random_images(4, 8))
    result = transplant(reference, model, random_images(4, 8))
    assert result.mapping["1.num_batches_tracked"] == "layers.1.num_batches_tracked"
    assert model.layers[1].num_batches_tracked == 1
    assert (result.unused_reference, result.unused_model) == ((), ())


def test_several_inputs_are_passed_on_and_stay_as_they_are() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.conv = nn.Embedding(3, 4), conv()

        def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return self.conv(x.mul_(2)) + self.embed(label)[:, :, None, None]

    images = random_images(4, 8)
    before = images.clone()
    assert transplant(Two(), Two(), (images, torch.tensor([2, 0]))).equal
    assert torch.equal(images, before)


def test_every_call_gives_the_same_and_draws_no_random_numbers_of_others() -> None:
    reference, model = four_convs(nn.ReLU()), four_convs(nn.SiLU())
    before = torch.get_rng_state()
    results = [transplant(reference, copy.deepcopy(model), random_images(4, 8))]
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    results += [transplant(reference, copy.deepcopy(model), random_images(4, 8))]
    assert dataclasses.astuple(results[0]) == dataclasses.astuple(results[1])


def test_what_is_random_in_training_only_does_not_run() -> None:
    reference, model = nn.Sequential(conv(), nn.Dropout(), conv()), nn.Sequential(conv(), conv())
    assert transplant(reference.train(), model.train(), random_images(4, 8)).equal


def test_a_model_without_values_is_refused() -> None:
    model = convzoo.create_model("resnet20", device="meta")
    with pytest.raises(TransplantError, match="meta device"):
        transplant(convzoo.create_model("resnet20"), model, random_images(3, 32))
