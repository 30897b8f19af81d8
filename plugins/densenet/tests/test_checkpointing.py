"""Training that keeps what dense layers append, and computes concatenations, norms and activations again."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import convzoo
from convzoo import ref
from convzoo.bench.memory import saved_for_backward
from convzoo.network.model import ConvNet

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def small(depth: int = 2, stages: int = 2, **options: Any) -> Any:
    """A DenseNet of ``stages`` runs of ``depth`` layers, of which each appends 4 channels, in training mode."""
    torch.manual_seed(0)
    run = (ref("dense", growth_rate=4),) * depth
    first, more = convzoo.Stage(run), convzoo.Stage((ref("transition"), *run), stride=2)
    spec = convzoo.Model("small", "densenet", ref("cifar", width=8), (first, *[more] * (stages - 1)), num_classes=5)
    return convzoo.create_model(spec, **options).train()


def step(model: nn.Module, images: torch.Tensor = IMAGES) -> None:
    torch.manual_seed(1)
    out = model(images)
    levels = out if isinstance(out, list) else [out]
    sum(level.float().square().mean() for level in levels).backward()  # type: ignore[union-attr]


def assert_alike(plain: Any, saving: Any, run: Callable[[Any], None] = step) -> None:
    """A step with checkpointing leaves the gradients and the state of a plain one, bit for bit."""
    saving.set_grad_checkpointing()
    for model in (plain, saving):
        run(model)
    theirs = dict(saving.named_parameters())
    for name, parameter in plain.named_parameters():
        gradient = theirs[name].grad
        assert (parameter.grad is None) == (gradient is None), name
        assert gradient is None or torch.equal(parameter.grad, gradient), name
    for (key, mine), other in zip(plain.state_dict().items(), saving.state_dict().values(), strict=True):
        assert torch.equal(mine, other), key


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dropout": 0.2, "drop_path_rate": 0.4},
        {"bottleneck": 0, "norm": "group"},
        {"norm": "none", "act": "silu"},
        {"features_only": True, "out_indices": (1, 2)},
    ],
    ids=str,
)
def test_gradients_and_statistics_are_those_of_a_plain_step(options: dict[str, Any], dtype: torch.dtype) -> None:
    plain = small(**options).to(dtype)
    assert_alike(plain, copy.deepcopy(plain), lambda model: step(model, IMAGES.to(dtype)))


def test_a_stem_that_is_a_feature_level_too_sums_its_gradients_in_another_order() -> None:
    plain = small(features_only=True).double()
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    for model in (plain, saving):
        step(model, IMAGES.double())
    for mine, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-12, atol=1e-14)


def test_statistics_move_once_a_step() -> None:
    model = small()
    model.set_grad_checkpointing()
    step(model)
    assert {int(m.num_batches_tracked) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1}


@pytest.mark.parametrize("frozen", ["norms", "stages"])
def test_what_is_frozen_stays_so(frozen: str) -> None:
    plain = small()
    if frozen == "norms":
        plain.freeze_norms(affine=True)
    else:
        plain.freeze(1)
    assert_alike(plain.train(), copy.deepcopy(plain))


def test_mixed_precision_and_channels_last_are_kept() -> None:
    plain = small().to(memory_format=torch.channels_last)

    def run(model: nn.Module) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            step(model, IMAGES.contiguous(memory_format=torch.channels_last))

    assert_alike(plain, copy.deepcopy(plain), run)


@pytest.mark.parametrize("depth", [2, 6])
def test_what_is_kept_is_linear_in_depth(depth: int) -> None:
    """Of each layer the 16 channels of its bottleneck, twice, their means and deviations, and the 4 that it appends."""

    def kept(depth: int) -> int:
        model = small(depth, stages=1)
        model.set_grad_checkpointing()
        return saved_for_backward(model, lambda: model.forward_features(IMAGES))

    numbers = (16 + 16 + 4) * IMAGES[:, 0].numel() + 2 * 16
    assert kept(depth + 1) - kept(depth) == numbers * IMAGES.element_size()


def test_no_map_is_kept_whole() -> None:
    """Not behind the last layer of a stage either, where the next one reads it in pieces."""
    model, channels = small(depth=3), set()
    model.set_grad_checkpointing()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[2:] == IMAGES.shape[2:]:
            channels.add(tensor.shape[1])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(IMAGES)
    assert channels == {3, 4, 8, 10, 16}, "images, new features, the stem, what the transition makes, and bottlenecks"


def test_no_convolution_is_computed_again() -> None:
    class Convolutions(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += func is torch.ops.aten.convolution.default
            return func(*args, **(kwargs or {}))

    model = small()
    model.set_grad_checkpointing()
    with Convolutions() as convolutions:
        step(model)
    assert convolutions.count == sum(isinstance(m, nn.Conv2d) for m in model.modules())


@pytest.mark.parametrize("where", ["stages.0.0", "stages.0.0.branch", "stages.1.0"])
def test_hooks_of_what_is_taken_apart_are_called_and_change_nothing(where: str) -> None:
    plain = small()
    saving, calls = copy.deepcopy(plain), []
    saving.get_submodule(where).register_forward_hook(lambda *_: calls.append(where))
    assert_alike(plain, saving)
    assert calls


class Doubling(nn.Module):
    """Lends the attributes of what it wraps, as wrappers do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        with contextlib.suppress(AttributeError):
            return super().__getattr__(name)
        return getattr(self.inner, name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(2 * x)


def patched(layer: nn.Module) -> nn.Module:
    forward = layer.forward
    layer.forward = lambda x: forward(2 * x)
    return layer


@pytest.mark.parametrize("changed", [Doubling, patched])
def test_a_layer_of_which_calling_is_something_else_is_called(changed: Callable[[nn.Module], nn.Module]) -> None:
    plain, saving = small(), small()
    for model in (plain, saving):
        model.stages[0][1] = changed(model.stages[0][1])
    assert_alike(plain, saving)


def test_it_compiles_without_a_graph_break() -> None:
    torch._dynamo.reset()
    plain = small(1, stages=1)
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    step(plain)
    step(torch.compile(saving, backend="aot_eager", fullgraph=True))
    for (name, mine), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, msg=name)
    for (name, mine), other in zip(plain.named_buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(mine, other, msg=name)


@pytest.fixture
def process_group(tmp_path: Any) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_it_trains_under_data_parallelism(process_group: None) -> None:
    plain = small()
    run: Callable[[ConvNet], None] = lambda model: step(nn.parallel.DistributedDataParallel(model))  # noqa: E731
    assert_alike(plain, copy.deepcopy(plain), run)
