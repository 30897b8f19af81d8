"""Creation, loading, inference and a training step: one variant of each family beside timm's and torchvision's."""

from __future__ import annotations

import torch
from suite import network

import convzoo
from convzoo.network.counting import count


def bench_creation(made):
    """With weights as the network starts with them."""
    make, benchmark = made
    benchmark(make)


def bench_loading(made):
    """A state dict of the network's own keys into a network that is there."""
    make, benchmark = made
    model = make()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own = isinstance(model, torch.nn.Module) and hasattr(model, "spec")
    benchmark(lambda: convzoo.load_weights(model, state) if own else model.load_state_dict(state))


def bench_inference(made, images):
    """A forward pass in eval mode."""
    make, benchmark = made
    model = network(make).eval()
    benchmark.extra_info.update(count(model, tuple(images.shape[1:]))._asdict())
    with torch.no_grad():
        benchmark(model, images)


def bench_training(made, images):
    """Forward, cross-entropy, backward and a step of SGD."""
    make, benchmark = made
    model = network(make).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    classes = torch.arange(len(images))

    def step():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), classes).backward()
        optimizer.step()

    benchmark(step)
