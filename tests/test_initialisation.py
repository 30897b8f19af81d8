"""How a network starts is part of the variant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

import convzoo
from convzoo import Component, Model, Stage, ref
from convzoo.layers import Fills, Maker
from convzoo.network.keys import key_map
from convzoo.testing.parity import reference_model

from .facts import rows
from .sites import parts_of, whole

# One small variant for each part that starts in a way of its own, and then those for each of timm's families.
TIMM = ["resnet18", "seresnet18", "resnest14d", "skresnet18", "densenet121"]
MORE = [
    "resnet26t",
    "resnet50_gn",
    "resnetrs50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "seresnext26d_32x4d",
    "ecaresnet26t",
    "ecaresnext26t_32x4d",
    "resnest50d",
    "resnest50d_1s4x24d",
    "skresnext50_32x4d",
]


@pytest.mark.parametrize("name", [*TIMM, *(pytest.param(name, marks=pytest.mark.large) for name in MORE)])
def test_each_tensor_starts_with_timms_mean_and_deviation(name: str) -> None:
    torch.manual_seed(0)
    ours, theirs = convzoo.create_model(name), timm.create_model(name)
    names = key_map(ours)
    reference = theirs.state_dict()
    for key, tensor in ours.state_dict().items():
        _assert_same_distribution(key, tensor.double(), reference[names[key]].double())


def _assert_same_distribution(key: str, mine: torch.Tensor, theirs: torch.Tensor) -> None:
    """Two samples of one distribution, or one constant: five standard errors apart at most."""
    count = mine.numel()
    if theirs.min() == theirs.max():
        assert torch.equal(mine, theirs), key
        return
    deviation = theirs.std().item()
    assert abs((mine.mean() - theirs.mean()).item()) <= 5 * deviation * math.sqrt(2 / count), key
    # The deviation of a sample deviation is at most that of a normal distribution's.
    assert abs(math.log(mine.std().item() / deviation)) <= 5 * math.sqrt(1 / count), key
    assert abs(mine.abs().max().item() / theirs.abs().max().item() - 1) < 0.9, key


@pytest.mark.parametrize("row", [r["zoo_name"] for r in rows() if r.get("timm_name") and r["family"] != "densenet"])
def test_names_that_timm_has_start_the_last_norms_as_timm_does(row: str) -> None:
    layers = [named for part, named in parts_of(_spec_as(row)) if part.component.kind == "block"]
    zero = all(layer.options.get("zero_init_last", False) for layer in layers)
    assert zero == (not row.startswith("sk"))


def _spec_as(name: str) -> Model:
    """The spec under timm's name."""
    spec = convzoo.model_info(name).spec
    reference = spec.reference("timm")
    assert reference is not None
    return whole(reference.name)


def test_resnest_starts_as_its_authors_code_does_under_their_names_and_as_timm_does_under_timms() -> None:
    for name, start in (("resnest50", 1), ("resnest50d", 0), ("resnest14d", 0)):
        assert convzoo.create_model(name).stages[0][0].branch.norm3.weight.unique().tolist() == [start]


def test_cifar_networks_start_as_the_torch7_code_does() -> None:
    model = convzoo.create_model("resnet20_b")
    conv = model.stages[2][0].branch.conv2
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * conv.out_channels)), rel=0.05)
    assert model.get_classifier().bias.abs().max().item() == 0
    assert model.stages[2][0].branch.norm2.weight.min().item() == 1


def test_wide_basic_networks_start_by_fan_in() -> None:
    conv = convzoo.create_model("wide_resnet18_1.5").stages[3][0].branch.conv1.conv
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * conv.in_channels)), rel=0.05)


def test_grouped_convolutions_start_by_the_full_fan_out() -> None:
    conv = convzoo.create_model("resnext29_32x4d").stages[2][0].branch.conv2.conv
    assert conv.groups == 32
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * conv.out_channels)), rel=0.05)


class Own(nn.Module):
    """A block that starts some of its tensors itself."""

    def __init__(self, in_channels: int, *, planes: int) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 1)
        self.left = nn.Conv2d(in_channels, planes, 1)
        self.zero = nn.Conv2d(planes, planes, 1)
        nn.init.zeros_(self.zero.weight)
        self.halved = nn.Conv2d(planes, planes, 1)
        with torch.no_grad():
            self.halved.weight.fill_(1.0)
            self.halved.weight.mul_(0.5)
        self.through_data = nn.Conv2d(planes, planes, 1)
        self.through_data.weight.data.fill_(2)
        self.joined = nn.Parameter(torch.cat([self.conv.weight, self.through_data.weight]).detach())
        self.scale = nn.Parameter(torch.full((1,), 3.0))
        self.drawn = nn.Parameter(torch.empty(1000))
        nn.init.uniform_(self.drawn, 5, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.halved(self.zero(self.conv(x))) * self.scale


def _with_own_block() -> Model:
    layer = ref("own", planes=8)
    return Model("own", "test", ref("cifar", width=8), (Stage((layer,)),), init=ref("kaiming"))


def test_a_part_that_starts_a_tensor_itself_keeps_it(mine: str) -> None:
    convzoo.register(Component("block", "own", Own), plugin=mine)
    block: Any = convzoo.create_model(_with_own_block()).stages[0][0]
    assert block.zero.weight.abs().max().item() == 0
    assert block.halved.weight.min().item() == block.halved.weight.max().item() == 0.5
    assert block.through_data.weight.min().item() == block.through_data.weight.max().item() == 2
    assert torch.equal(block.joined, torch.cat([block.conv.weight, block.through_data.weight]))
    assert block.scale.item() == 3
    assert 5 <= block.drawn.min().item() <= block.drawn.max().item() <= 6
    # What it left at torch's default is the init's to start: Kaiming by fan-out has a deviation of sqrt(2 / 8).
    assert block.left.weight.std().item() == pytest.approx(0.5, rel=0.3)
    assert block.left.bias.abs().max().item() > 0


class Draws(TorchDispatchMode):
    """Records which tensors random numbers are drawn into."""

    def __init__(self) -> None:
        super().__init__()
        self.into: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::normal_", "aten::uniform_") and not args[0].is_meta:
            self.into.append(args[0].data_ptr())
        return func(*args, **(kwargs or {}))


class InEveryWay(nn.Module):
    """A block whose tensors start in the ways that torch has, beside those of its own layers."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.spectral = parametrizations.spectral_norm(nn.Conv2d(in_channels, in_channels, 3, padding=1))
        self.normed = parametrizations.weight_norm(nn.Conv2d(in_channels, in_channels, 1))
        self.dirac = nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False)
        nn.init.dirac_(self.dirac.weight)
        self.orthogonal, self.eye = nn.Linear(4, 4), nn.Linear(4, 4)
        nn.init.orthogonal_(self.orthogonal.weight)
        nn.init.eye_(self.eye.weight)
        self.before = nn.Parameter(torch.empty(3).uniform_(5, 6))  # filled before it is a parameter
        self.rows = nn.Parameter(torch.empty(2, 4))
        with torch.no_grad():
            self.rows[0], self.rows[1] = 1, 2
        self.like = nn.Parameter(torch.ones(3, device=self.rows.device))
        self.register_buffer("counted", torch.empty(5))
        self.counted.copy_(torch.arange(5.0))  # type: ignore[operator]
        self.copied = nn.Parameter(self.dirac.weight.detach().clone())
        self.frozen = nn.Parameter(torch.empty(3), requires_grad=False)
        nn.init.constant_(self.frozen, 7)
        self.lstm = nn.LSTM(4, 4)  # which holds weak references to its weights
        self.lazy = nn.LazyConv2d(in_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lazy(self.dirac(self.normed(self.spectral(x))))


def test_a_part_may_start_its_tensors_in_every_way_that_torch_has(mine: str) -> None:
    convzoo.register(Component("block", "every_way", InEveryWay), plugin=mine)
    spec = Model("own", "test", ref("cifar", width=8), (Stage([ref("every_way")]),), init=ref("kaiming"))
    model = convzoo.build(spec)
    block = model.stages[0][0]
    assert torch.equal(block.dirac(torch.ones(1, 8, 3, 3)), torch.ones(1, 8, 3, 3))
    assert torch.equal(block.copied, block.dirac.weight)
    torch.testing.assert_close(block.orthogonal.weight @ block.orthogonal.weight.T, torch.eye(4))
    assert torch.equal(block.eye.weight, torch.eye(4))
    assert 5 <= block.before.min().item() <= block.before.max().item() <= 6
    assert block.rows.tolist() == [[1] * 4, [2] * 4]
    assert block.like.tolist() == [1, 1, 1]
    assert block.counted.tolist() == [0, 1, 2, 3, 4]
    assert (block.frozen.tolist(), block.frozen.requires_grad) == ([7, 7, 7], False)
    assert block.lstm(torch.ones(2, 1, 4))[0].isfinite().all()
    assert model(torch.randn(2, 3, 32, 32)).isfinite().all()


def test_each_tensor_is_drawn_once_and_each_weight_is_drawn() -> None:
    with Draws() as draws:
        model = convzoo.create_model("seresnet18")
    norms = {id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    weights = [p.data_ptr() for p in model.parameters() if id(p) not in norms]
    assert sorted(draws.into) == sorted(weights)


def test_a_seed_repeats_the_start() -> None:
    def build() -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        return convzoo.create_model("cbam_resnet18_cifar").state_dict()

    first, second = build(), build()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_seed_gives_the_same_start_with_any_number_of_threads() -> None:
    starts = []
    for threads in (1, 4):
        with _threads(threads):
            torch.manual_seed(3)
            starts.append(convzoo.create_model("resnet18").state_dict())
    assert all(torch.equal(starts[0][key], starts[1][key]) for key in starts[0])


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_steps(model: nn.Module, std: float = 1.0) -> Fills:
    """An init whose fills go on with what they have drawn, or bring a generator."""
    fc, conv = model.get_parameter("head.fc.weight"), model.get_parameter("stages.3.0.branch.conv2.weight")
    view = fc.data
    generator = torch.Generator().manual_seed(5)
    yield fc, lambda weight: (weight.normal_(std=std), view.mul_(0).add_(7))
    yield conv, lambda weight: nn.init.normal_(weight, generator=generator)


def test_a_fill_that_goes_on_with_what_it_has_drawn_or_brings_a_generator_is_done_as_it_says(mine: str) -> None:
    convzoo.register(Component("init", "in_steps", in_steps), plugin=mine)
    model = convzoo.create_model("resnet18", init="in_steps")
    assert model.head.fc.weight.unique().tolist() == [7]
    conv = model.get_parameter("stages.3.0.branch.conv2.weight")
    assert torch.equal(conv, torch.empty_like(conv).normal_(generator=torch.Generator().manual_seed(5)))


def test_a_fill_that_fails_is_not_lost(mine: str) -> None:
    convzoo.register(Component("init", "in_steps", in_steps), plugin=mine)
    with pytest.raises(RuntimeError, match="std"):
        convzoo.create_model("resnet18", init=ref("in_steps", std=-1.0))


def test_initialisation_can_be_chosen() -> None:
    fan_in = convzoo.create_model("resnet18", init=ref("kaiming", mode="fan_in"), zero_init_last=False)
    conv = fan_in.stages[3][0].branch.conv1.conv
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.05)
    assert fan_in.stages[3][0].branch.norm2.weight.min().item() == 1
    plain = convzoo.create_model("resnet18", init="default")
    bound = 1 / math.sqrt(9 * 256)
    assert plain.stages[3][0].branch.conv1.conv.weight.abs().max().item() <= bound


class Reset(nn.Module):
    """A block that starts by a method of its own, and reads what torch's layers have while it is constructed."""

    def __init__(self, in_channels: int, *, planes: int, norm: Maker = nn.BatchNorm2d) -> None:
        super().__init__()
        self.out_channels = planes
        self.conv = nn.Conv2d(in_channels, planes, 1)
        self.norm = norm(planes)
        self.own = nn.Parameter(torch.empty(planes, in_channels))
        self.register_buffer("table", torch.empty(3))
        self.bound = float(self.conv.weight.detach().abs().max())
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.orthogonal_(self.own)
        nn.init.constant_(self.norm.weight, 0.25)
        nn.init.constant_(self.get_buffer("table"), 7.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


@pytest.mark.parametrize("init", ["default", "kaiming", "start"])
def test_a_part_that_starts_by_a_method_of_its_own_keeps_that(mine: str, init: str) -> None:
    convzoo.register(Component("block", "reset", Reset), Component("init", "start", start), plugin=mine)
    spec = Model("own", "test", ref("cifar", width=8), (Stage((ref("reset", planes=8),)),), init=ref(init))
    block: Any = convzoo.create_model(spec).stages[0][0]
    torch.testing.assert_close(block.own @ block.own.T, torch.eye(8))
    assert block.norm.weight.tolist() == [0.25] * 8
    assert block.table.tolist() == [7.0] * 3
    assert 0 < block.bound <= 1 / math.sqrt(8)


def start(model: nn.Module) -> Iterator[tuple[torch.Tensor, Callable[[torch.Tensor], Any]]]:
    """An init that starts norms too, and what it starts in no part of the model."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            yield module.weight, partial(nn.init.constant_, val=0.5)
            yield module.bias, nn.init.ones_
        elif isinstance(module, nn.Conv2d):
            yield module.weight, partial(nn.init.normal_, std=3.0)


@pytest.mark.parametrize("norm", ["batch", ref("group", groups=4)], ids=str)
def test_an_init_may_start_norms(mine: str, norm: Any) -> None:
    convzoo.register(Component("init", "start", start), plugin=mine)
    model = convzoo.create_model("resnet20", init="start", norm=norm)
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))]
    assert len(norms) == 19
    assert {value for m in norms for value in (*m.weight.tolist(), *m.bias.tolist())} == {0.5, 1.0}
    assert {tuple(m.weight.unique().tolist()) for m in norms} == {(0.5,)}
    assert model.stages[2][0].branch.conv2.weight.std().item() == pytest.approx(3, rel=0.05)


def test_a_norm_that_its_block_has_started_at_zero_stays_there_whatever_the_init(mine: str) -> None:
    convzoo.register(Component("init", "start", start), plugin=mine)
    model = convzoo.create_model("resnet20", init="start", zero_init_last=True)
    scales = [block.branch.norm2.weight.abs().max().item() for stage in model.stages for block in stage]
    assert scales == [0.0] * 9
    assert model.stages[0][0].branch.conv1.norm.weight.tolist() == [0.5] * 16


@pytest.mark.parametrize("name", ["resnet18", "condensenet50_cifar"])  # a large weight, and a part that prunes
def test_a_network_made_under_inference_mode_is_the_same_and_can_be_trained(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = convzoo.create_model(name)
    convzoo.set_progress(model, 1)
    convzoo.save_pretrained(convzoo.deploy(model), tmp_path)
    torch.manual_seed(0)
    with torch.inference_mode():
        again = convzoo.create_model(name)
        loaded = convzoo.create_model(name, weights=model.state_dict())
        deployed = convzoo.create_model(f"local-dir:{tmp_path}")
    convzoo.set_progress(again, 1)
    for other in (again, loaded):
        assert all(torch.equal(other.state_dict()[key], value) for key, value in model.state_dict().items())
    for other in (again, loaded, deployed):
        other.train()(torch.rand(2, 3, 32, 32)).sum().backward()


def test_reference_models_of_cbam_take_timms_attention() -> None:
    reference = convzoo.model_info("cbam_resnet18").spec.reference("timm")
    assert reference is not None
    assert any(type(m).__name__ == "CbamModule" for m in reference_model(reference).modules())


@pytest.mark.large
@pytest.mark.parametrize("name", ["resnet1001bn", "resnet1202"])
def test_the_deepest_networks_overflow_in_eval_mode_until_they_are_trained(name: str) -> None:
    """As the README says: it is the sum of hundreds of blocks that nothing has normalised yet, not a wrong start."""
    torch.manual_seed(0)
    model, images = convzoo.create_model(name).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        x = model.stem(images)
        sizes = [float((x := layer(x)).std()) for layer in model.stages[0]]
        assert model(images).isnan().all()
        assert model.train()(images).isfinite().all()
    growth = [after / before for before, after in itertools.pairwise(sizes[10:111])]
    assert 1.3 < sum(growth) / len(growth) < 1.7
