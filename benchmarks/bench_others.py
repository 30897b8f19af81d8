"""Import and listing, deployed forms beside their training graphs, and the memory of DenseNet's training."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
from families import FAMILIES
from suite import network

import convzoo
from convzoo.bench.memory import saved_for_backward

LISTING = {
    "convzoo": "import convzoo; convzoo.list_models()",
    "timm": "import timm; timm.list_models()",
    "torchvision": "import torchvision; torchvision.models.list_models()",
    "torch": "import torch",
}


@pytest.mark.parametrize("library", LISTING)
def bench_import_and_listing(benchmark, library):
    """In an interpreter of its own."""
    benchmark.group = "import and listing"
    benchmark.pedantic(subprocess.run, ([sys.executable, "-c", LISTING[library]],), {"check": True}, rounds=3)


@pytest.mark.parametrize("form", ["training", "deployed"])
@pytest.mark.parametrize("variant", [*FAMILIES.values(), "shakeshake26_2x32d", "condensenet74_g4"])
def bench_deployed(benchmark, variant, form, images):
    """A network at the end of its training, and what ``deploy`` makes of it."""
    benchmark.group = f"deployed {variant}"
    model = network(lambda: convzoo.create_model(variant))
    convzoo.set_progress(model, 1.0)
    model = convzoo.deploy(model) if form == "deployed" else model.eval()
    with torch.no_grad():
        benchmark(model, images)


DENSENETS = {
    "convzoo": lambda: convzoo.create_model("densenet121"),
    "convzoo, checkpointed": lambda: _checkpointed(convzoo.create_model("densenet121")),
    "timm": lambda: timm.create_model("densenet121"),
    "timm, memory_efficient": lambda: timm.create_model("densenet121", memory_efficient=True),
}


@pytest.mark.parametrize("which", DENSENETS)
def bench_densenet_memory(benchmark, which, images):
    """A training step; ``saved_bytes`` in the result's extra info are what it keeps for its backward pass."""
    benchmark.group = "training memory of densenet121"
    model = network(DENSENETS[which]).train()
    benchmark.extra_info["saved_bytes"] = saved_for_backward(model, lambda: model(images))

    def step():
        model(images).sum().backward()

    benchmark(step)


def _checkpointed(model):
    model.set_grad_checkpointing(True)
    return model
