"""A small network of each family learns to read digits, with what is special to the family at work while it does.

Every run trains :data:`QUICK`, which between them have whatever a training loop has to do with: a schedule, a penalty,
another form for inference, random mixing and dropout. ``pytest tests/test_training.py -s`` trains all, and prints what
was reached; a junit file has it as properties.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import convzoo
from convzoo import Stage, ref
from convzoo.network.lifecycle import Deployable
from convzoo.network.model import ConvNet


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """One thread, since workers share the cores, and random numbers that no other test sees."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@functools.cache
def digits() -> tuple[TensorDataset, TensorDataset]:
    """Handwritten digits, ``(N, 1, 16, 16)`` and labels: those to learn from, and a quarter that is held out."""
    data = load_digits()
    images = F.interpolate(torch.tensor(data.images, dtype=torch.float32).unsqueeze(1), size=16, mode="bilinear")
    labels = torch.tensor(data.target)
    known, held_out = train_test_split(range(len(labels)), test_size=0.25, stratify=labels, random_state=0)
    images = (images - images[known].mean()) / images[known].std()
    return TensorDataset(images[known], labels[known]), TensorDataset(images[held_out], labels[held_out])


def train(model: ConvNet, data: TensorDataset, epochs: int, *, lr: float = 0.005, penalty_weight: float = 0.0) -> None:
    loader = DataLoader(data, batch_size=32, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * len(loader))
    model.train()
    for epoch in range(epochs):
        for step, (images, labels) in enumerate(loader):
            convzoo.set_progress(model, (epoch + step / len(loader)) / epochs)
            loss = F.cross_entropy(model(images), labels) + penalty_weight * convzoo.penalty(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    convzoo.set_progress(model, 1)


@torch.no_grad()
def answers(model: ConvNet) -> Tensor:
    """The logits of the digits that are held out."""
    return model.eval()(digits()[1].tensors[0])


def accuracy(logits: Tensor) -> float:
    return float((logits.argmax(1) == digits()[1].tensors[1]).float().mean())


def small(name: str, *, depth: int = 1, shrink: int = 1, last: str = "", **options: Any) -> Callable[..., ConvNet]:
    """What builds a variant with at most ``depth`` equal layers in a row and its planes divided by ``shrink``.

    ``last`` is the convolution of the last stage. The stem halves the image, since the digits had 8 px once.
    """
    spec = convzoo.model_info(name).spec
    stages = []
    for stage in spec.stages:
        layers = [layer for count, layer in stage.runs() for _ in range(min(count, depth))]
        if shrink > 1:
            layers = [layer.with_options(planes=layer.options["planes"] // shrink) for layer in layers]
        if last and stage is spec.stages[-1]:
            layers = [layer.with_options(conv=ref(last)) for layer in layers]
        stages.append(Stage(tuple(layers), stage.stride))
    stem = ref("conv", width=16, kernel_size=3, pool="none")
    given = {"stem": stem, "in_chans": 1, "num_classes": 10, **options}
    return lambda **others: convzoo.create_model(spec.derived(stages=stages), **{**given, **others})


class Case(NamedTuple):
    build: Callable[..., ConvNet]
    epochs: int
    penalty_weight: float = 0.0


CASES = {
    "resnet": Case(small("resnet20", depth=2), 3),
    "resnext": Case(small("resnext29_32x4d", shrink=4, cardinality=8, base_width=16), 6),
    "se": Case(small("seresnet20", depth=3), 5),
    "eca": Case(small("resnet20", depth=3, attention="eca"), 5),
    "cbam": Case(small("cbam_resnet18_cifar", shrink=4), 6),
    "wide_resnet": Case(small("wrn10_1", dropout=0.3), 8),
    "resnest": Case(small("resnest14d", shrink=4), 4),
    "sknet": Case(small("skresnet18", shrink=4, conv=ref("selective_kernel", split_input=False)), 6),
    "densenet": Case(small("densenet40_k12_bc", depth=2, dropout=0.1), 6),
    "condensenet": Case(small("condensenet50_cifar", depth=2, dropout=0.05), 5, penalty_weight=1e-5),
    "shake_shake": Case(small("shakeshake20_2x16d", forward_mode="shake", backward_mode="shake", level="image"), 4),
    "deformable": Case(small("resnet20_b", depth=2, last="deformable"), 5),
    "drop_path": Case(small("resnet20_b", depth=3, drop_path_rate=0.2), 6),
}
QUICK = ("resnet", "shake_shake")
"""Those that are trained in every run: a plain one, and branches that are mixed at random, with another form for
inference. The others are left to `make test-all`."""


def large(family: str) -> Any:
    """The mark of what is not trained in every run."""
    return () if family in QUICK else pytest.mark.large


# What is measured each time that a module runs in training: of the module, its output y and its inputs.
def appended(module: nn.Module, y: Tensor, x: Tensor) -> float:
    """Channels after those of the input, if these are kept."""
    stride = x.shape[2] // y.shape[2]
    return y.shape[1] - x.shape[1] if torch.equal(y[:, : x.shape[1]], x[..., ::stride, ::stride]) else 0


def widening(module: nn.Module, y: Tensor, x: Tensor) -> float:
    return y.shape[1] / x.shape[1]


def readers(conv: nn.Conv2d, y: Tensor, x: Tensor) -> Tensor:
    """The share of the output channels that read the first channel of the input."""
    image = torch.zeros(1, conv.in_channels, 3, 3)
    image[:, 0] = 1
    return (conv.forward(image) != 0).flatten(2).any(2).float().mean()


def gating(module: nn.Module, y: Tensor, x: Tensor) -> Tensor:
    """How much the gates that ``y`` opens differ from image to image."""
    return y.sigmoid().std(0).mean()


def choosing(module: nn.Module, y: Tensor, x: Tensor) -> Tensor:
    """The same of what ``y`` chooses of two: their softmax is a gate of the difference."""
    first, second = y.chunk(2, 1)
    return gating(module, first - second, x)


def pixels_away(module: nn.Module, y: Tensor, x: Tensor) -> Tensor:
    return y[:, :18].abs().mean()


def dropped(module: nn.Module, y: Tensor, x: Tensor) -> Tensor:
    return (y[x != 0] == 0).float().mean()


def dropped_images(module: Any, y: Tensor, x: Tensor) -> Tensor:
    """The share of the images that are dropped, over the rate of the layer."""
    return (y.flatten(1).abs().amax(1) == 0).float().mean() / module.rate


def off_mean(norm: Any, y: Tensor, x: Tensor) -> Tensor:
    """How far each channel's mean over the batch is from the bias: not at all, after batch norm."""
    return (y.mean((0, 2, 3)) - norm.bias).abs().max()


def kept(conv: Any, y: Tensor, x: Tensor) -> Tensor:
    """The share of the inputs that a group still reads."""
    return conv.kept.double().mean()


def shaking(module: nn.Module, y: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Deviations of the first branch's share in the images' sums and in their gradients, and the shares' distance.

    Of independent uniform numbers these are 0.289, 0.289 and 0.333.
    """
    difference = first - second
    forward = ((y - second) * difference).sum((1, 2, 3)) / difference.square().sum((1, 2, 3))
    backward = torch.autograd.grad(y.sum(), first, retain_graph=True)[0][:, 0, 0, 0]
    return torch.stack([forward.std(), backward.std(), (forward - backward).abs().mean()])


class Mechanic(NamedTuple):
    """For each of ``modules``, the mean of ``measure`` lies from ``low`` to ``high``; when it is ``off``, it does not.

    If it ``steers``, the modules say by the image what becomes of it.
    """

    family: str
    modules: str
    measure: Callable[..., Tensor | float]
    low: float
    high: float
    off: list[dict[str, Any]]
    steers: bool = False


VARIES = (1e-5, 0.5)
SHAKE_OFF = [{"forward_mode": "even"}, {"backward_mode": "even"}, {"backward_mode": "keep"}, {"level": "batch"}]
MECHANICS = [
    Mechanic("resnet", r"stages\.[12]\.0\.shortcut", appended, 16, 32, [{"shortcut": "conv"}], steers=True),
    Mechanic("resnext", r"conv2\.conv", readers, 1 / 8, 1 / 8, [{"cardinality": 1}]),
    Mechanic("se", r"attention\.fc2", gating, *VARIES, [{"attention": None}], steers=True),
    Mechanic("eca", r"attention\.conv", gating, *VARIES, [{"attention": None}], steers=True),
    Mechanic("cbam", r"channel\.fc2", gating, *VARIES, [{"attention": None}], steers=True),
    Mechanic("cbam", r"spatial\.norm", gating, *VARIES, [{"spatial": False}], steers=True),
    Mechanic("wide_resnet", "dropout2", dropped, 0.29, 0.31, [{"dropout": 0.0}]),
    Mechanic("resnest", r"conv2\.fc2", choosing, *VARIES, [{"conv": "plain"}], steers=True),
    Mechanic("sknet", r"conv1\.select", choosing, *VARIES, [{"conv": "plain"}], steers=True),
    Mechanic("densenet", r"stages\.0\.\d", appended, 12, 12, [{"growth_rate": 8}]),
    Mechanic("densenet", r"stages\.0\.0\.branch\.conv1", widening, 3, 3, [{"bottleneck": 0}]),
    Mechanic("densenet", r"stages\.[12]\.0", widening, 0.5, 0.5, [{"compression": 1.0}]),
    Mechanic("densenet", r"dropout\d?", dropped, 0.09, 0.11, [{"dropout": 0.0}]),
    Mechanic("condensenet", r"dropout\d?", dropped, 0.04, 0.06, [{"dropout": 0.0}]),
    # A quarter in the second half of the training; 1, 3/4 and 1/2 for a sixth of it each before.
    Mechanic("condensenet", r"branch\.conv1", kept, 0.48, 0.52, [{"condense_factor": 1}, {"condense_factor": 2}]),
    Mechanic("shake_shake", "mix", shaking, 0.2, 0.4, SHAKE_OFF),
    Mechanic("deformable", r"conv1\.offset", pixels_away, 0.01, 32, [{"conv": "plain"}], steers=True),
    Mechanic("drop_path", "drop_path", dropped_images, 0.7, 1.3, [{"drop_path_rate": 0.0}]),
    Mechanic("drop_path", "norm2", off_mean, 0, 1e-4, [{"norm": "group"}]),
]


def named(model: nn.Module, pattern: str) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if re.search(rf"(^|\.)({pattern})$", name)}


@contextlib.contextmanager
def watching(model: ConvNet, mechanics: list[Mechanic]) -> Iterator[None]:
    """Fails at the end if one of them was not on."""
    seen: list[dict[str, list[Tensor]]] = []

    def look(measure: Callable, values: list[Tensor], module: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        if module.training:
            values.append(torch.as_tensor(measure(module, y, *inputs), dtype=torch.float64).detach())

    for mechanic in mechanics:
        modules = named(model, mechanic.modules)
        seen.append({name: [] for name in modules})
        for name, module in modules.items():
            module.register_forward_hook(functools.partial(look, mechanic.measure, seen[-1][name]))
    yield
    for (_, modules, measure, low, high, *_), measured in zip(mechanics, seen, strict=True):
        what = measure.__name__
        assert measured, f"{what}: there is no {modules}"
        assert all(measured.values()), f"{what}: some of {modules} never ran"
        means = {name: torch.stack(values).mean(0).flatten().tolist() for name, values in measured.items()}
        assert all(low <= value <= high for mean in means.values() for value in mean), f"{what}: {means}"


@pytest.mark.parametrize("family", [pytest.param(family, marks=large(family)) for family in CASES])
def test_family_learns_digits_with_its_mechanics_on(family: str, record_property: Callable[..., None]) -> None:
    build, epochs, penalty_weight = CASES[family]
    mechanics = [mechanic for mechanic in MECHANICS if mechanic.family == family]
    model = build()
    assert accuracy(answers(model)) < 0.3, "it knows nothing before it learns"
    started = time.process_time()
    with watching(model, mechanics):
        train(model, digits()[0], epochs, penalty_weight=penalty_weight)
    seconds = round(time.process_time() - started, 1)
    deployed = convzoo.deploy(model)
    logits, same = answers(model), answers(deployed)
    row = {"variant": model.spec.name, "parameters": sum(p.numel() for p in model.parameters()), "epochs": epochs}
    row |= {"cpu_seconds": seconds, "accuracy": round(accuracy(logits), 4), "deployed": round(accuracy(same), 4)}
    for item in row.items():
        record_property(*item)
    print(f"\n{family}:", *(f"{key}={value}" for key, value in row.items()))

    assert accuracy(logits) >= 0.95
    assert torch.equal(same.argmax(1), logits.argmax(1))
    torch.testing.assert_close(same, logits, rtol=1e-3, atol=1e-3)
    if any(isinstance(module, Deployable) for module in model.modules()):
        assert list(map(type, deployed.modules())) != list(map(type, model.modules())), "it is in its other form"
    if steering := "|".join(mechanic.modules for mechanic in mechanics if mechanic.steers):
        for module in named(model, steering).values():
            module.register_forward_hook(lambda module, inputs, output: output.roll(1, 0))
        change = (answers(model) - logits).norm() / logits.norm()
        assert change > 0.02, "with what steers another image, the answers are others"


OFF = [
    pytest.param(mechanic, off, id="-".join([mechanic.family, *off]), marks=large(mechanic.family))
    for mechanic in MECHANICS
    for off in mechanic.off
]


@pytest.mark.parametrize(("mechanic", "off"), OFF)
def test_mechanics_that_are_off_are_missed(mechanic: Mechanic, off: dict[str, Any]) -> None:
    model = CASES[mechanic.family].build(**off)
    with pytest.raises(AssertionError, match=f"^{mechanic.measure.__name__}:"), watching(model, [mechanic]):
        train(model, TensorDataset(*digits()[0][:128]), 1)
