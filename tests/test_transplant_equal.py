"""A transplant is equal only where everything was seen to be; what is known can be told; nothing is left half done."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from convzoo.testing import TransplantError, transplant

Run = Callable[..., Any]
IMAGES = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


class Net(nn.Module):
    """Layers, more tensors by name, and a function of it and its inputs that says how it runs."""

    def __init__(self, run: Run, *layers: nn.Module, **state: torch.Tensor) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.run = run
        for name, tensor in state.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def first(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.layers[0](x)


def conv(kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(4, 4, kernel, padding=kernel // 2, **options)


def pair(run: Run, *layers: Callable[[], nn.Module], **state: Callable[[], torch.Tensor]) -> tuple[Net, Net]:
    """Two networks of one kind with other weights."""

    def made() -> Net:
        return Net(run, *(layer() for layer in layers), **{name: tensor() for name, tensor in state.items()})

    return made(), made()


def everything(model: nn.Module) -> dict[str, Any]:
    """What must be as it was: tensors and their flags and gradients, modes, hooks, and random numbers."""
    state = model.state_dict(keep_vars=True)
    return {
        "values": {name: tensor.detach().clone() for name, tensor in state.items()},
        "same": {name: (id(tensor), tensor.requires_grad, id(tensor.grad)) for name, tensor in state.items()},
        "modes": [(module.training, [*vars(module)], [*module._forward_hooks]) for module in model.modules()],
        "random": (torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist()),  # type: ignore[index]
    }


def assert_as_before(model: nn.Module, before: Mapping[str, Any]) -> None:
    now = everything(model)
    torch.testing.assert_close(now.pop("values"), before["values"], rtol=0, atol=0, equal_nan=True)
    assert now == {key: value for key, value in before.items() if key != "values"}


def not_equal(reference: nn.Module, model: nn.Module, example: Any = IMAGES, **options: Any) -> Any:
    """The result, once it is sure that it is not equal and that nothing was done."""
    before = everything(reference), everything(model)
    result = transplant(reference, model, example, **options)
    assert not result.equal
    assert str(result).startswith("not equal, and the model is unchanged")
    for network, state in zip((reference, model), before, strict=True):
        assert_as_before(network, state)
    return result


def refused(reference: Any, model: Any, example: Any = IMAGES, **options: Any) -> str:
    """The message of the error, once it is sure that nothing was done."""
    networks = [network for network in (reference, model) if isinstance(network, Net)]
    before = [everything(network) for network in networks]
    with pytest.raises(TransplantError) as caught:
        transplant(reference, model, example, **options)
    for network, state in zip(networks, before, strict=True):
        assert_as_before(network, state)
    return str(caught.value)


# What an example does not examine


def test_what_no_output_depends_on_is_idle_and_the_two_are_not_equal() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[0](x) + net.layers[1](torch.relu(net.layers[2](x) - 1e6))

    result = not_equal(*pair(run, conv, conv, conv))
    assert (result.largest_difference, result.divergence, result.unused_model) == (0, None, ())
    assert result.idle_reference == result.idle_model == ("layers.1.weight", "layers.2.weight", "layers.2.bias")
    assert "idle in the model, 3: layers.1.weight, layers.2.weight, layers.2.bias" in str(result)


def test_what_is_idle_in_one_network_only_is_found_there() -> None:
    """Each runs two layers, but the outputs of only one depend on both."""

    def run(net: Net, x: torch.Tensor, keep: float = 1.0) -> torch.Tensor:
        return net.layers[0](x) + net.layers[1](x.relu() * 0) * keep

    model = Net(lambda net, x: run(net, x, 0.0), conv(), conv(bias=False))
    result = not_equal(Net(run, conv(), conv(bias=False)), model)
    assert result.idle_model == ("layers.1.weight",)


def test_each_place_of_a_window_must_have_seen_more_than_padding() -> None:
    reference = Net(first, conv())
    model = Net(first, nn.Conv2d(4, 4, 3, padding=2, dilation=2))
    result = not_equal(reference, model, torch.randn(2, 4, 1, 1))
    assert (result.largest_difference, result.idle_model) == (0, ("layers.0.weight",))
    assert not_equal(reference, model).largest_difference > 0.01
    # The last dimensions of a kernel that is kept in another order are no window: here a channel shows in no output.
    theirs = Net(lambda net, x: F.conv2d(x, net.w.permute(3, 2, 0, 1))[:, 1:], w=nn.Parameter(torch.randn(3, 3, 4, 8)))
    model = Net(lambda net, x: net.layers[0](x)[:, 1:], nn.Conv2d(4, 8, 3, bias=False))
    assert transplant(theirs, model, IMAGES, adapt=lambda t: {"layers.0.weight": t["w"].permute(3, 2, 0, 1)}).equal


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (lambda net, x: F.conv2d(x, net.layers[0].weight.sign(), net.layers[0].bias), None),
        (lambda net, x: net.layers[0](x).flatten(1).argmax(1), None),
        (lambda net, x: net.layers[0](x)[:, net.state], lambda: torch.zeros(4, dtype=torch.long)),
        (lambda net, x: net.layers[0](x)[:, net.state], lambda: torch.randperm(4)),
        (lambda net, x: net.layers[0](x) * net.state, lambda: torch.ones(4, 1, 1, dtype=torch.bool)),
        (
            lambda net, x: (net.layers[0](x) * 2 + net.state).softmax(1),
            lambda: torch.tensor([0.0] * 3 + [-torch.inf]).view(4, 1, 1),
        ),
        (lambda net, x: torch.fft.fft2(net.layers[0](x)) * net.state, lambda: torch.randn(4, 1, 1, dtype=torch.cfloat)),
        (lambda net, x: (net.layers[0](x), net.state.item()), lambda: torch.tensor(3)),
    ],
)
def test_what_has_no_gradient_is_changed_to_see_whether_it_matters(
    run: Run, state: Callable[[], torch.Tensor] | None
) -> None:
    reference, model = pair(run, lambda: conv(1), **({"state": state} if state else {}))
    result = transplant(reference, model, IMAGES, pairs={"state": "state"} if state else {})
    assert result.equal, result
    if state:
        assert torch.equal(model.state, reference.state)  # type: ignore[arg-type]
        result = not_equal(
            *pair(lambda net, x: net.layers[0](x), lambda: conv(1), state=state), pairs={"state": "state"}
        )
        assert result.idle_model == ("state",)


def test_running_statistics_matter_by_their_gradient_and_not_each_by_a_run_of_its_own() -> None:
    runs: list[int] = []

    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        for layer in net.layers:
            x = layer(x)
        return x

    def called(net: Net, x: torch.Tensor) -> torch.Tensor:
        """The norm has no gradient by its statistics; the others have one all the same."""
        x, norm = run(net, x), net.layers[1]
        return torch.batch_norm(
            x,
            norm.weight,
            norm.bias,
            norm.running_mean,
            norm.running_var,
            False,
            0.1,
            1e-5,
            False,  # type: ignore[arg-type]
        )

    norms = [nn.BatchNorm2d, lambda n: nn.InstanceNorm2d(n, track_running_stats=True)] * 2
    layers = [layer for norm in norms for layer in (conv, lambda norm=norm: norm(4), nn.ReLU)]
    assert transplant(*pair(run, *layers), IMAGES).equal
    assert len(runs) < 12
    del runs[:]
    result = not_equal(*pair(lambda net, x: run(net, x) * 0 + x, *layers))
    assert len(result.idle_model) == 2 * (2 + 4 + 2 + 2)
    del runs[:]
    assert transplant(*pair(called, conv, lambda: nn.BatchNorm2d(4), conv, conv), IMAGES).equal
    assert len(runs) < 20


def test_indices_are_changed_within_their_range_first() -> None:
    seen: list[int] = []

    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        seen.append(int(net.index.max()))  # type: ignore[operator, arg-type, union-attr]
        return net.layers[0](x)[:, net.index]

    assert transplant(*pair(run, conv, index=lambda: torch.tensor([0, 2, 1, 3])), IMAGES).equal
    assert set(seen) == {3}


def test_the_first_of_many_plain_layers_still_matters() -> None:
    """With the statistics of a fresh network the signal of 20 layers would be lost in their shifts."""

    def layers() -> list[nn.Module]:
        return [layer for _ in range(20) for layer in (conv(bias=False), nn.BatchNorm2d(4), nn.ReLU())]

    model = nn.Sequential(*layers())
    assert transplant(nn.Sequential(*layers()), model, IMAGES).equal
    assert torch.equal(model[1].running_mean, torch.zeros(4))


def test_scripted_networks_are_examined_too() -> None:
    reference, model = (nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv()) for _ in range(2))
    for theirs in (torch.jit.script(reference), torch.jit.trace(reference.eval(), IMAGES)):
        nn.init.zeros_(model[3].weight)
        assert transplant(theirs, model, IMAGES).equal
        assert torch.equal(model[3].weight, reference[3].weight)


# What else two outputs that agree may hide


def test_a_difference_on_the_way_is_one_though_the_outputs_agree() -> None:
    reference = Net(lambda net, x: net.layers[0](2 * x), conv(bias=False))
    result = not_equal(reference, Net(lambda net, x: 2 * net.layers[0](x), conv(bias=False)))
    assert result.largest_relative < 1e-12
    assert (result.idle_model, result.unused_model) == ((), ())
    assert "first difference: the input of conv2d with layers.0.weight" in str(result)


def test_infinities_on_the_way_are_equal_but_not_in_the_end() -> None:
    reference, model = pair(lambda net, x: (1 / (net.layers[0](x).relu() * 0) + net.layers[0](x)).clamp(max=1), conv)
    assert transplant(reference, model, IMAGES).divergence is None
    for bad in (float("nan"), float("inf")):
        result = not_equal(*pair(lambda net, x, bad=bad: net.layers[0](x) * bad, conv))
        assert "not finite" in str(result)
        assert result.random == ()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda y: torch.complex(y, y), lambda y: torch.complex(y, 2 * y)),
        (lambda y: (y * 1e6).long() + 10**12, lambda y: (y * 1e6).long() + 10**12 + 1),
        (lambda y: y > 0, lambda y: y >= -0.1),
        (lambda y: {"y": y, "loss": 1.0}, lambda y: {"y": y, "loss": 1.1}),
        (lambda y: y[:0], lambda y: y[:0]),
        (lambda y: (y, y.mean().item()), lambda y: (y, y.mean().item() * 2)),
    ],
)
def test_outputs_of_every_kind_are_compared(theirs: Callable[..., Any], ours: Callable[..., Any]) -> None:
    reference, model = (Net(lambda net, x, of=of: of(net.layers[0](x)), conv()) for of in (theirs, ours))
    not_equal(reference, model)


@pytest.mark.parametrize("change", [lambda y: y.sum(1, keepdim=True), lambda y: y.long(), lambda y: (y, 1.0), str])
def test_outputs_of_other_shapes_or_kinds_are_refused(change: Callable[..., Any]) -> None:
    model = Net(lambda net, x: change(net.layers[0](x)), conv())
    assert "the outputs cannot be compared" in refused(Net(first, conv()), model)


GENERATOR = torch.Generator()


@pytest.mark.parametrize(
    "draw",
    [
        lambda y: F.dropout(y),
        lambda y: y + 0 * torch.rand(()),
        lambda y: y * (1 + random.random()),
        lambda y: y * (1 + numpy.random.rand()),
        lambda y: y * (1 + torch.rand((), generator=GENERATOR)),
    ],
)
def test_what_is_random_in_eval_mode_is_never_equal(draw: Callable[[torch.Tensor], torch.Tensor]) -> None:
    result = not_equal(*pair(lambda net, x: draw(net.layers[0](x)), conv))
    assert result.random == ("the reference", "the model")
    assert "the model draws random numbers in eval mode" in str(result)


def test_what_changes_with_every_run_is_not_equal() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        net.count.add_(1)  # type: ignore[operator, union-attr]
        return net.layers[0](x) * net.count

    assert not_equal(*pair(run, conv, count=lambda: torch.zeros(1))).random == ("the reference", "the model")


def test_weights_that_are_computed_once_and_kept_follow_the_weights_that_they_come_from() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        if "kept" not in vars(net):
            net.kept = net.layers[0].weight * 2
        return F.conv2d(x, net.kept, net.layers[0].bias, padding=1)  # type: ignore[arg-type]

    reference, model = pair(run, conv)
    assert transplant(reference, model, IMAGES).equal
    assert "kept" not in vars(reference)


# What is known


def split(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        f"layers.{i}.{name}": part
        for name in ("weight", "bias")
        for i, part in enumerate(theirs[f"layers.0.{name}"].chunk(3))
    }


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return (query @ key.mT).tanh() @ value


def fused(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.layers[1](attention(*net.layers[0](x.flatten(2).mT).chunk(3, -1)))


def apart(net: Net, x: torch.Tensor) -> torch.Tensor:
    x = x.flatten(2).mT
    return net.layers[3](attention(*(layer(x) for layer in net.layers[:3])))


def one_and_three() -> tuple[Net, Net]:
    return Net(fused, nn.Linear(4, 12), nn.Linear(4, 4)), Net(apart, *(nn.Linear(4, 4) for _ in range(4)))


@pytest.mark.parametrize("training", [False, True])
def test_tensors_in_another_form_are_adapted(training: bool) -> None:
    one, three = one_and_three()
    result = transplant(one, three, IMAGES, adapt=split, training=training)
    assert result.equal, result
    assert result.adapted["layers.2.bias"] == ("layers.0.bias",)
    assert result.mapping == {"layers.1.weight": "layers.3.weight", "layers.1.bias": "layers.3.bias"}
    assert torch.equal(torch.cat([layer.weight for layer in three.layers[:3]]), one.layers[0].weight)  # type: ignore[misc]

    def merge(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        parts = {name: [theirs.pop(f"layers.{i}.{name}") for i in range(3)] for name in ("weight", "bias")}
        return {f"layers.0.{name}": torch.cat(three) for name, three in parts.items()}

    one, three = one_and_three()
    result = transplant(three, one, IMAGES, adapt=merge, training=training)
    assert result.equal, result
    assert result.adapted["layers.0.bias"] == tuple(f"layers.{i}.bias" for i in range(3))


def test_a_wrong_adapter_is_seen_in_what_follows() -> None:
    def crossed(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        right = split(theirs)
        return right | {"layers.0.weight": right["layers.1.weight"], "layers.1.weight": right["layers.0.weight"]}

    assert not_equal(*one_and_three(), adapt=crossed).divergence.model == "layers.3.weight"


def test_a_bias_whose_weight_is_adapted_belongs_to_its_layer() -> None:
    runs: list[int] = []

    def theirs(net: Net, x: torch.Tensor) -> torch.Tensor:
        y = F.conv2d(x, -net.layers[1].weight, net.layers[1].bias, padding=1)  # type: ignore[operator, arg-type]
        return net.layers[0](x) - y

    def ours(net: Net, x: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        return net.layers[0](x) - net.layers[1](x)

    model = Net(ours, conv(), conv())
    adapt: Run = lambda theirs: {"layers.1.weight": -theirs["layers.1.weight"]}  # noqa: E731
    result = transplant(Net(theirs, conv(), conv()), model, IMAGES, adapt=adapt)
    assert result.equal, result
    assert result.mapping["layers.1.bias"] == "layers.1.bias"
    assert len(runs) == 5  # no other choice had to be tried


def test_an_adapter_may_convert_all_write_into_what_it_gets_and_give_constants() -> None:
    def rewrite(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for tensor in theirs.values():
            tensor.add_(1)
        return {name: tensor - 1 for name, tensor in theirs.items()}

    for adapt in (dict, rewrite):
        assert transplant(*pair(first, conv), IMAGES, adapt=adapt, training=True).equal


def test_what_is_a_parameter_in_only_one_is_trained_only_there() -> None:
    def bias(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"layers.0.weight": theirs["layers.0.weight"], "layers.0.bias": torch.zeros(4)}

    reference, model = Net(first, conv(bias=False)), Net(first, conv())
    assert "at layers.0.bias" in str(not_equal(reference, model, adapt=bias, training=True))
    assert transplant(reference, model, IMAGES, adapt=bias).equal
    assert model.layers[0].bias.tolist() == [0] * 4  # type: ignore[operator, union-attr]
    assert transplant(reference, model, IMAGES, adapt=bias, training=True, ignore="layers.0.bias").equal

    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[0](x) * net.scale

    networks = Net(run, conv(), scale=nn.Parameter(torch.ones(4, 1, 1))), Net(run, conv(), scale=torch.ones(4, 1, 1))
    for reference, model in (networks, networks[::-1]):
        assert "gradients differ" in str(not_equal(reference, model, training=True))
        assert transplant(reference, model, IMAGES).equal


@pytest.mark.parametrize(
    ("adapt", "message"),
    [
        ({"a": "b"}, "adapt must be a function"),
        (lambda t: None, "adapt must return tensors by the model's names, got None"),
        (lambda t: {}, "adapt must return tensors"),
        (lambda t: {"layers.0.weight": 1}, "adapt gives 1 for layers.0.weight, not a tensor"),
        (lambda t: {"layers.0.weight": t["layer.0.weight"]}, "reference has no tensor 'layer.0.weight'. Did you mean"),
        (
            lambda t: {"layers.0.wieght": t["layers.0.weight"]},
            "the model has no tensor 'layers.0.wieght'. Did you mean",
        ),
        (lambda t: {"layers.0.weight": t["layers.0.weight"]}, r"gives (12, 4) for layers.0.weight, which is (4, 4)"),
        (lambda t: {k: v for k, v in split(t).items() if "weight" in k}, "only in the model, 3:"),
        (lambda t: 1 / 0, "adapt raises ZeroDivisionError"),
        (lambda t: {k: torch.tensor(v.tolist()) for k, v in split(t).items()}, "was not seen to come from"),
        (None, "let adapt give them"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(adapt: Any, message: str) -> None:
    assert message in refused(*one_and_three(), adapt=adapt)


def test_an_adapter_that_stops_gradients_is_refused_for_training() -> None:
    networks = one_and_three()
    message = refused(*networks, adapt=lambda t: {k: v.detach() for k, v in split(t).items()}, training=True)
    assert "the gradient of layers.0.weight cannot be compared" in message


def test_pairs_decide_between_layers_that_cannot_be_told_apart() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[0](x) - net.layers[1](x)

    def other(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[1](x) - net.layers[0](x)

    reference, model = Net(run, conv(), conv()), Net(other, conv(), conv())
    result = transplant(reference, model, IMAGES, pairs={"layers.0.*": "layers.1.*"})
    assert result.equal, result
    assert result.mapping["layers.1.bias"] == "layers.0.bias"
    assert transplant(reference, Net(other, conv(), conv()), IMAGES, pairs=result.mapping).equal
    assert not_equal(reference, model, pairs={"layers.*.weight": "layers.*.weight"}).largest_difference > 0.01


def test_operations_of_other_kinds_may_use_a_pair() -> None:
    reference = Net(lambda net, x: x.mT @ net.w.mT, w=nn.Parameter(torch.randn(5, 8)))
    model = Net(lambda net, x: net.layers[0](x.mT), nn.Linear(8, 5, bias=False))
    assert "only in the reference, 1:" in refused(reference, model)
    assert transplant(reference, model, IMAGES, pairs={"w": "layers.0.weight"}).equal


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("a", "b")], "pairs must map"),
        ({"layers.0.weight": 1}, "pairs must map"),
        (
            {"layers.0.weihgt": "a.weight"},
            "the reference has no tensor 'layers.0.weihgt'. Did you mean 'layers.0.weight'",
        ),
        ({"layers.0.weight": "a.weihgt"}, "the model has no tensor 'a.weihgt'. Did you mean 'a.weight'"),
        ({"a.*": "layers.0.*"}, "Pairs go from the reference's names to the model's"),
        ({"layers.*": "a.weight"}, "as many stars"),
        (
            {"layers.0.weight": "a.weight", "layers.1.weight": "a.weight"},
            "both layers.0.weight and layers.1.weight go to",
        ),
        ({"layers.0.*": "a.*", "layers.0.weight": "b.weight"}, "layers.0.weight goes to both a.weight and b.weight"),
        ({"layers.0.weight": "a.bias"}, r"(4, 4, 3, 3) in the reference, a.bias (4,) in the model: let adapt"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(pairs: Any, message: str) -> None:
    model = nn.Sequential()
    model.add_module("a", conv())
    model.add_module("b", conv())
    assert message in refused(Net(lambda net, x: net.layers[1](net.layers[0](x)), conv(), conv()), model, pairs=pairs)
    given = {"pairs": {"layers.0.weight": "a.weight"}, "adapt": lambda t: {"a.weight": t["layers.0.weight"]}}
    assert "by adapt and in pairs" in refused(Net(first, conv(), conv()), model, **given)


def test_what_is_ignored_need_not_be_there_nor_matter_but_is_carried_where_it_can_be() -> None:
    def two(net: Net, x: torch.Tensor) -> torch.Tensor:
        net.layers[1](x)
        return net.layers[0](x)

    for reference, model in (
        (Net(two, conv(), conv()), Net(first, conv())),
        (Net(first, conv()), Net(two, conv(), conv())),
    ):
        assert "only in" in refused(reference, model)
        assert transplant(reference, model, IMAGES, ignore="layers.1.*").equal
    reference, model = pair(two, conv, conv)
    assert not_equal(reference, model).idle_model == ("layers.1.weight", "layers.1.bias")
    assert transplant(reference, model, IMAGES, ignore=["layers.1.*"]).equal
    assert torch.equal(model.layers[1].weight, reference.layers[1].weight)  # type: ignore[arg-type]
    assert "neither network has a tensor 'layer.1.*'. Did you mean 'layers.1.bias'" in refused(
        reference, model, ignore="layer.1.*"
    )
    assert "ignore must be names" in refused(reference, model, ignore=3)


# Training mode


def test_training_mode_is_compared_where_it_is_asked_for() -> None:
    def layers(**options: Any) -> list[nn.Module]:
        return [conv(), nn.BatchNorm2d(4, **options), nn.ReLU(), conv()]

    result = transplant(nn.Sequential(*layers()), nn.Sequential(*layers()), IMAGES, training=True)
    assert result.equal, result
    assert result.training is not None
    assert result.training.gradients.relative < 1e-10
    reference, model = nn.Sequential(*layers()), nn.Sequential(*layers(momentum=0.2))
    result = not_equal(reference, model, training=True)
    assert "in training mode: statistics differ" in str(result)
    assert "at 1.running_" in str(result)
    assert transplant(reference, model, IMAGES).equal


def test_a_gradient_that_is_stopped_is_a_difference() -> None:
    def run(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[1](net.layers[0](x))

    model = Net(lambda net, x: net.layers[1](net.layers[0](x).detach()), conv(), conv())
    result = not_equal(Net(run, conv(), conv()), model, training=True)
    assert "in training mode: gradients differ" in str(result)
    # So is one that stops before the first layer.
    model = Net(lambda net, x: run(net, x.detach()), conv(), conv())
    assert "most at input 0" in str(not_equal(Net(run, conv(), conv()), model, training=True))


def test_gradients_that_are_rounding_only_do_not_count() -> None:
    """A norm takes the bias before it away, so that its gradient in training is 0, up to what the formula rounds."""

    def by_hand(net: Net, x: torch.Tensor) -> torch.Tensor:
        y, norm = net.layers[0](x), net.layers[1]
        mean, variance = norm.running_mean, norm.running_var
        if net.training:
            variance, mean = torch.var_mean(y, (0, 2, 3), correction=0)
            with torch.no_grad():
                norm.running_mean.lerp_(mean, 0.1)  # type: ignore[operator, union-attr]
                norm.running_var.lerp_(variance * 128 / 127, 0.1)  # type: ignore[operator, union-attr]
                norm.num_batches_tracked += 1  # type: ignore[operator]
        tensors = (mean, (variance + norm.eps).rsqrt(), norm.weight, norm.bias)  # type: ignore[operator]
        mean, scale, weight, bias = (tensor[:, None, None] for tensor in tensors)  # type: ignore[index]
        return (y - mean) * (scale * weight) + bias

    def norm() -> nn.Module:
        return nn.BatchNorm2d(4)

    reference = Net(lambda net, x: net.layers[1](net.layers[0](x)), conv(), norm())
    result = transplant(reference, Net(by_hand, conv(), norm()), IMAGES, pairs={"*": "*"}, training=True)
    assert result.equal, result
    assert result.training is not None
    assert result.training.gradients.absolute > 0


def test_random_layers_agree_in_training_mode_only_where_they_draw_the_same() -> None:
    def layers(rate: float) -> nn.Module:
        return nn.Sequential(conv(), nn.Dropout(rate), conv())

    assert transplant(layers(0.3), layers(0.3), IMAGES, training=True).equal
    result = not_equal(layers(0.3), layers(0.4), training=True)
    assert "random numbers are drawn in training mode" in str(result)


def test_what_runs_in_training_mode_only_matters_there() -> None:
    def run(net: Net, x: torch.Tensor) -> Any:
        return (net.layers[0](x), net.layers[1](x)) if net.training else net.layers[0](x)

    pairs = {"layers.1.*": "layers.1.*"}
    assert not_equal(*pair(run, conv, conv), pairs=pairs).idle_model == ("layers.1.weight", "layers.1.bias")
    assert transplant(*pair(run, conv, conv), IMAGES, pairs=pairs, training=True).equal
    message = refused(Net(run, conv(), conv()), Net(first, conv(), conv()), pairs=pairs, training=True)
    assert "That is in training mode" in message


def test_statistics_that_are_assigned_anew_are_compared() -> None:
    def run(net: Net, x: torch.Tensor, momentum: float = 0.1) -> torch.Tensor:
        y, mean = net.layers[0](x), net.mean
        if net.training:
            net.mean = (1 - momentum) * mean + momentum * y.detach().mean((0, 2, 3))  # type: ignore[operator]
        return y - mean[:, None, None]  # type: ignore[index]

    mean = {"mean": torch.zeros(4)}
    assert transplant(Net(run, conv(), **mean), Net(run, conv(), **mean), IMAGES, training=True).equal
    other = Net(lambda net, x: run(net, x, 0.2), conv(), **mean)
    assert "statistics differ" in str(not_equal(Net(run, conv(), **mean), other, training=True))


# Nothing half done


def test_the_model_keeps_the_weights_only_if_all_can_be_written() -> None:
    def two(net: Net, x: torch.Tensor) -> torch.Tensor:
        return net.layers[1](net.layers[0](x))

    reference, model = pair(two, conv, conv)
    model.layers[1].weight = nn.Parameter(model.layers[0].weight.data)  # type: ignore[union-attr, arg-type]
    assert "shares its memory" in refused(reference, model)
    model = Net(two, conv(), conv())
    model.layers[1].bias = nn.Parameter(torch.zeros(1).expand(4))
    assert "layers.1.bias of the model cannot be written" in refused(reference, model)
    with torch.no_grad():
        reference.layers[1].weight.mul_(1e6)  # type: ignore[operator, union-attr]
    assert "do not fit into torch.float16" in refused(reference, Net(two, conv(), conv()).half())


def test_buffers_that_two_modules_share_are_carried_once() -> None:
    def shared() -> Net:
        net = Net(
            lambda net, x: net.layers[1](net.layers[0](x) * net.layers[0].mask) * net.layers[1].mask, conv(), conv()
        )
        mask = torch.rand(4, 1, 1)
        for layer in net.layers:
            layer.register_buffer("mask", mask)
        return net

    model = shared()
    result = transplant(shared(), model, IMAGES)
    assert result.equal, result
    assert len(result.mapping) == 5
    assert model.layers[0].mask is model.layers[1].mask


def _raises(net: Net, x: torch.Tensor) -> torch.Tensor:
    raise ZeroDivisionError("in the middle")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            Net(_raises, conv()),
            {},
            "the model cannot be run on the example in eval mode: ZeroDivisionError: in the middle",
        ),
        (Net(lambda net, x: first(net, x.float()), conv()), {}, "in float64"),
        (
            Net(lambda net, x: first(net, x) if not net.training else 1 / 0, conv()),
            {"training": True},
            "in training mode",
        ),
        (nn.Conv2d, {}, "the model must be a torch.nn.Module"),
        (None, {}, "the model must be a torch.nn.Module"),
        (nn.LazyConv2d(4, 3), {}, "is lazy and has no weights yet"),
        (nn.Conv2d(4, 4, 3, device="meta"), {}, "the model has no values, being on the meta device"),
        (Net(first, conv()), {"tolerance": 0}, "tolerance"),
        (Net(first, conv()), {"tolerance": True}, "tolerance"),
        (Net(first, conv()), {"training": "yes"}, "training must be True or False"),
        (Net(first, conv()), {"example_kwargs": [1]}, "example_kwargs must map names"),
    ],
)
def test_networks_and_arguments_that_cannot_be_used_are_refused(model: Any, options: Any, message: str) -> None:
    assert message in refused(Net(first, conv()), model, **options)


@pytest.mark.parametrize("example", [[IMAGES], {"x": IMAGES}, "x", 3, (3,), (), IMAGES.to("meta")])
def test_examples_without_tensors_are_refused(example: Any) -> None:
    assert "example" in refused(Net(first, conv()), Net(first, conv()), example)


@dataclasses.dataclass
class Output:
    logits: Any
    loss: float


@pytest.mark.parametrize(
    ("run", "args", "kwargs"),
    [
        (lambda net, images: net.layers[0](images[0]) + images[1]["b"], ([IMAGES, {"b": IMAGES}],), {}),
        (lambda net, x, n, *, y: net.layers[0](x) * n + y, (IMAGES, 3), {"y": IMAGES}),
        (lambda net, *, x: {"a": net.layers[0](x), "b": [x, (1.5, None)]}, (), {"x": IMAGES}),
        (lambda net, x: Output(net.layers[0](x), 0.5), IMAGES, {}),
        (lambda net, x: (net.layers[0](x.mul_(2)), net.layers[0].weight, x), IMAGES, {}),
    ],
)
def test_inputs_and_outputs_may_have_any_structure(run: Run, args: Any, kwargs: dict[str, Any]) -> None:
    images = IMAGES.clone()
    result = transplant(*pair(run, conv), args, example_kwargs=kwargs, training=True)
    assert result.equal, result
    assert torch.equal(IMAGES, images)


@pytest.mark.parametrize(
    "around",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
    ],
)
def test_it_does_not_matter_where_it_is_called(around: Callable[[], Any]) -> None:
    reference, model = (nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv()) for _ in range(2))
    stopped = Net(lambda net, x: net.layers[0](x.detach()), copy.deepcopy(reference))
    with around():
        assert transplant(reference, model, IMAGES, training=True).equal
        assert not transplant(reference, stopped, IMAGES, training=True).equal
    assert torch.equal(model[3].weight, reference[3].weight)


def _pruned(layer: nn.Module) -> nn.Module:
    return prune.random_unstructured(layer, "weight", 0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.spectral_norm,
        _pruned,
        nn.Module.half,
        pytest.param(lambda layer: torch.compile(layer, backend="eager"), marks=pytest.mark.large),
        lambda layer: layer.requires_grad_(False),
    ],
)
def test_layers_that_are_wrapped_or_changed_are_carried(change: Callable[[nn.Module], nn.Module]) -> None:
    reference, model = pair(first, lambda: change(conv()))
    result = transplant(reference, model, IMAGES, training=True)
    assert result.equal, result


def test_tensors_are_found_where_the_state_dict_is_written_otherwise() -> None:
    class Own(Net):
        def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
            return {"all": torch.cat([tensor.flatten() for tensor in super().state_dict().values()])}

    reference = Own(lambda net, x: net.layers[0](x) * net.scale, conv(), scale=torch.rand(4, 1, 1))
    reference.register_buffer("passing", torch.zeros(1), persistent=False)
    model = Net(lambda net, x: net.layers[0](x) * net.scale, conv(), scale=torch.rand(4, 1, 1))
    result = transplant(reference, model, IMAGES)
    assert result.equal, result
    assert set(result.mapping) == {"layers.0.weight", "layers.0.bias", "scale"}


def test_networks_without_weights_are_compared_by_what_they_compute() -> None:
    assert transplant(nn.ReLU(), nn.Threshold(0, 0), IMAGES).equal
    assert transplant(nn.Sequential(), nn.Identity(), IMAGES).equal
    not_equal(nn.ReLU(), nn.SiLU())
    assert "no elements" in str(not_equal(*pair(lambda net, x: x[:0])))
    assert transplant(Net(first, conv(), none=nn.Parameter(torch.zeros(0, 3))), Net(first, conv()), IMAGES).equal
