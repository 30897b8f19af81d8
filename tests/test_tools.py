"""Networks of every family under what wraps and compiles whole networks, in training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convzoo

from .small import each_family

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def _alone_in_its_group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def step(model: Any) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """The outputs of one step of training, and the gradients of all parameters."""
    torch.manual_seed(1)  # of what is dropped or mixed
    out = model.train()(IMAGES)
    out.square().mean().backward()
    return out.detach(), [parameter.grad for parameter in model.parameters()]


def twins(name: str) -> tuple[nn.Module, nn.Module]:
    one, other = convzoo.create_model(name), convzoo.create_model(name, device="meta")
    other.to_empty(device="cpu").load_state_dict(one.state_dict())
    return one, other


@pytest.mark.tool("torch.compile")
@pytest.mark.parametrize("name", each_family(quick=0, large=250_000))
def test_a_network_of_each_family_is_one_graph_to_torch_compile_and_learns_alike(name: str, same_weights: None) -> None:
    plain, other = twins(name)
    torch.compiler.reset()
    compiled = torch.compile(other, backend="eager", fullgraph=True)
    torch.testing.assert_close(step(compiled), step(plain), rtol=1e-3, atol=1e-4)


@pytest.mark.tool("DDP")
@pytest.mark.usefixtures("_alone_in_its_group")
@pytest.mark.parametrize("name", each_family(quick=300_000, large=4_000_000))
def test_a_network_of_each_family_learns_alike_in_data_parallelism(name: str, same_weights: None) -> None:
    plain, other = twins(name)
    parallel = nn.parallel.DistributedDataParallel(other)  # which refuses parameters that get no gradient, at step two
    for _ in range(2):
        torch.testing.assert_close(step(parallel), step(plain))
