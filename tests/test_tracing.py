"""Networks of every family as graphs of torch.fx, deployed ones included: traced, compiled by TorchScript, cut open."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import fx
from torchvision.models.feature_extraction import create_feature_extractor

import convzoo
from convzoo import ref
from convzoo.testing.numerics import jitter_norms

from .small import smallest_of_families

DEPLOYED = ("condensenet50_cifar", "shakeshake20_2x16d")
"""Small, and of another form when deployed: what is traced is run in every run of these."""
FAMILIES = smallest_of_families()
WIDE = 30_000_000
"""Parameters from which on a network is left to `make test-large`; another of the same blocks is in every run."""
IMAGES = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def large(name: str) -> bool:
    return (convzoo.model_info(name).spec.params or 0) > WIDE


@pytest.mark.tool("FX")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.large if large(name) else ()) for name in FAMILIES.values()]
)
def test_a_network_of_each_family_is_traced_and_gives_the_features_of_any_stage(name: str) -> None:
    model = convzoo.create_model(name, device="meta")
    assert isinstance(fx.symbolic_trace(model), fx.GraphModule)
    nodes = ["stem", *(f"stages.{number}" for number in range(len(model.stages)))]
    extractor = create_feature_extractor(model, nodes)  # traces it in training and in eval mode
    channels = [level.shape[1] for level in extractor(IMAGES.to("meta")).values()]
    assert channels[1:] == [level["num_chs"] for level in model.feature_info[1:]]


def forms(model: Any) -> dict[str, Any]:
    jitter_norms(model)
    convzoo.set_progress(model, 1)
    model.eval()
    return {"as trained": model, "deployed": convzoo.deploy(model)}


def answer(model: Any, images: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return model(images)


def alike(found: torch.Tensor, expected: torch.Tensor, form: str) -> bool:
    """Whether both are equal; a deployed network has kernels of its own, whose sums are made in another order."""
    return bool((found - expected).abs().max() <= (1e-5 if form == "deployed" else 0) * expected.abs().max())


def scripted(graph: fx.GraphModule) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(graph)


@pytest.mark.tool("FX and TorchScript")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in DEPLOYED else pytest.mark.large) for name in FAMILIES.values()]
)
def test_traced_and_scripted_networks_of_each_family_answer_alike_deployed_ones_too(
    name: str, same_weights: None
) -> None:
    for form, model in forms(convzoo.create_model(name)).items():
        graph = fx.symbolic_trace(model)
        compiled = scripted(graph)
        for images in (IMAGES, IMAGES.to(memory_format=torch.channels_last)):
            expected = answer(model, images)
            assert alike(answer(graph, images), expected, form), form
            assert alike(answer(compiled, images), expected, form), form
        features = create_feature_extractor(model, [f"stages.{len(model.stages) - 1}"])
        (last,) = answer(features, IMAGES).values()  # type: ignore[attr-defined]
        assert alike(last, answer(model.forward_features, IMAGES), form), form


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_network_traced_in_training_draws_its_random_numbers_and_follows_its_progress(
    name: str, same_weights: None
) -> None:
    model = convzoo.create_model(name, drop_path_rate=0.2).train()
    graph = fx.symbolic_trace(model)
    assert torch.equal(answer(graph, IMAGES), answer(model, IMAGES))
    before = answer(graph, IMAGES)
    convzoo.set_progress(model, 1)  # the graph has the same buffers
    assert torch.equal(answer(graph, IMAGES), answer(model, IMAGES))
    assert torch.equal(answer(graph, IMAGES), before) == (name == "shakeshake20_2x16d")


@pytest.mark.parametrize("modulation", [True, pytest.param(False, marks=pytest.mark.large)])
def test_a_composed_network_with_deformable_convolutions_is_traced_and_scripted(
    modulation: bool, same_weights: None
) -> None:
    model = convzoo.create_model("resnet20", conv=ref("deformable", modulation=modulation), attention="cbam").eval()
    for name, weights in model.named_parameters():
        if ".offset." in name:
            torch.nn.init.normal_(weights, std=0.1)
    graph = fx.symbolic_trace(model)
    assert torch.equal(answer(graph, IMAGES), answer(model, IMAGES))
    assert torch.equal(answer(scripted(graph), IMAGES), answer(model, IMAGES))


def test_a_backbone_is_traced_and_scripted() -> None:
    backbone = convzoo.create_model("resnet20", features_only=True, out_indices=(1, 3)).eval()
    graph = fx.symbolic_trace(backbone)
    for run in (graph, scripted(graph)):
        levels = answer(run, IMAGES)
        assert [torch.equal(one, other) for one, other in zip(levels, answer(backbone, IMAGES), strict=True)] == [
            True
        ] * 2
