"""What is known of two networks can be told to transplant: adapters, pairs, and what to ignore."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convzoo.testing import transplant

from .nets import IMAGES, Net, Run, conv, first, not_equal, pair, refused

pytestmark = pytest.mark.usefixtures("same_weights")


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
