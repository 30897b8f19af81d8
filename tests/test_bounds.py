"""Values that are out of all bounds are refused before anything is allocated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

import convzoo
from convzoo import Model, OptionError, Ref, SpecError, Stage, per_stage, ref
from convzoo.errors import LARGEST, shown
from convzoo.layouts import BASIC, cifar_depths, dense_stages, imagenet, stages
from convzoo.network import place
from convzoo.plugins.host import plugins
from convzoo.spec.options import DEEPEST, MOST, Options, frozen

from .allocations import refused
from .sites import whole
from .small import SMALL

# Out of all bounds


@pytest.mark.parametrize(
    "value", [LARGEST + 1, -LARGEST - 1, 2**63, 10**400, 10**6000, math.nan, math.inf, -math.inf], ids=shown
)
def test_no_option_holds_a_number_that_is_out_of_all_bounds(value: Any) -> None:
    for make in (
        lambda: ref("anything", size=value),
        lambda: per_stage({"size": value}),
        lambda: Options({"a": [1, [{"size": value}]]}),
        lambda: frozen(value, "size"),
        lambda: whole(SMALL, planes=value, size=value),
    ):
        with pytest.raises(OptionError, match=r"size=|planes="):
            make()
    assert ref("anything", size=LARGEST).options["size"] == LARGEST


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        ("resnet18", {"planes": LARGEST}, "planes"),
        ("resnet18", {"planes": 10**6}, "planes"),
        ("resnet50", {"expansion": LARGEST}, "expansion"),
        ("resnet18", {"num_classes": LARGEST}, "num_classes"),
        ("resnet18", {"in_chans": LARGEST}, "in_channels=2147483647"),
        ("resnet18", {"stem": ref("conv", kernel_size=10**9 + 1)}, "kernel_size"),
        ("resnet18", {"dilation": 10**6}, "dilation"),
        ("resnet18", {"attention": ref("eca", kernel_size=10**9 + 1)}, "kernel_size"),
        ("resnet18", {"conv": ref("spatially_separable", kernel_size=10**6 + 1)}, "kernel_size"),
        ("sknet50", {"branches": 10**9}, "branches"),
        ("resnest50", {"radix": 10**9}, "radix"),
        ("densenet121", {"growth_rate": 10**9}, "growth_rate"),
        ("wrn16_1", {"kernel_sizes": (3,) * 1000}, "kernel_sizes"),
        ("wrn16_9999", {"planes": 10**6}, "planes"),
    ],
)
def test_what_no_machine_can_hold_is_refused_before_it_is_allocated(model: str, options: Any, word: str) -> None:
    start = time.process_time()
    if word == "dilation":  # which layers have, but no option gives to all of them
        model, options = Model("m", "m", ref("cifar"), (Stage((ref("basic", planes=8, **options),)),)), {}  # type: ignore[assignment]
    assert word in refused(lambda: convzoo.create_model(model, **options))
    assert time.process_time() - start < 20


def test_a_network_that_is_larger_than_the_memory_is_refused_with_what_it_would_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("convzoo.building.initialise.memory_of", lambda device: 40 * 2**20)
    message = refused(lambda: convzoo.create_model("resnet18"))
    assert "takes 0 GiB, and there are no more than 0 left for weights; device='meta' needs none" in message
    assert "in block basic" in message
    monkeypatch.setattr("convzoo.building.initialise.memory_of", lambda device: 50 * 2**20)
    convzoo.create_model("resnet18")


def test_memory_is_that_of_the_machine() -> None:
    assert 2**28 < place.memory_of(torch.device("cpu")) < 2**50
    assert place.memory_of(torch.device("meta")) == math.inf


def test_a_new_classifier_that_no_machine_can_hold_leaves_the_model_as_it_is() -> None:
    net = convzoo.create_model(SMALL)
    before = net.get_classifier()
    for classes in (LARGEST, 2**62):
        with pytest.raises(OptionError, match="num_classes"):
            net.reset_classifier(classes)
    assert net.get_classifier() is before


def test_a_network_has_no_more_layers_than_can_be_built() -> None:
    endless = Model("endless", "endless", ref("cifar"), (Stage((ref("basic", planes=8),) * (MOST + 1)),))
    with pytest.raises(OptionError, match="the stages of endless have 10001 layers"):
        whole(endless)


# Shapes of values


def test_values_are_nested_no_deeper_than_can_be_written() -> None:
    inner = ref("a")
    for _ in range(DEEPEST - 1):
        inner = ref("a", a=inner)
    assert Ref.parse(str(inner)) == inner
    assert hash(inner) == hash(Ref.parse(str(inner)))
    with pytest.raises(OptionError, match=f"a=.*nested no more than {DEEPEST} deep"):
        ref("a", a=inner)
    with pytest.raises(OptionError, match="nested"):
        per_stage([inner])


def test_values_that_are_one_in_memory_and_very_many_when_written_are_refused() -> None:
    value: Any = ref("a", x=1)
    while 2 * value.extent()[1] + 1 <= MOST:
        value = ref("a", x=value, y=value)
    with pytest.raises(OptionError, match=f"y=.*more than {MOST} others"):
        ref("a", x=value, y=value)
    with pytest.raises(OptionError, match=r"sizes=.*more than"):
        ref("a", sizes=[0] * (MOST + 1))
    assert len(ref("a", sizes=[0] * (MOST - 1)).options["sizes"]) == MOST - 1


# Norms


@pytest.mark.parametrize("eps", [0, -1e-5, math.nan, math.inf, 1.5, True, "1e-5"])
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_eps_of_a_norm_is_a_small_positive_number(norm: str, eps: Any) -> None:
    assert "eps" in refused(lambda: convzoo.create_model(SMALL, norm=ref(norm, eps=eps)))
    with pytest.raises(OptionError, match="eps must be a number above 0"):
        plugins().registry.component("norm", norm)[0].load()(8, eps=eps)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, math.nan, math.inf, None, True])
def test_momentum_is_a_share(momentum: Any) -> None:
    assert "momentum" in refused(lambda: convzoo.create_model(SMALL, norm=ref("batch", momentum=momentum)))
    gate = {"spatial_momentum": momentum}
    assert "spatial_momentum" in refused(lambda: convzoo.create_model(SMALL, attention=ref("cbam", **gate)))


def test_eps_and_momentum_reach_the_norm() -> None:
    norm = convzoo.create_model(SMALL, norm=ref("batch", eps=1e-3, momentum=0), device="meta").stem.norm
    assert (norm.eps, norm.momentum) == (1e-3, 0)


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        ("resnet18", {"act": ref("gelu", approximate="none at all")}, "approximate"),
        ("resnet18", {"act": ref("prelu", num_parameters=0)}, "num_parameters"),
        ("wrn16_1", {"kernel_sizes": (3,), "dropout": 7.0}, "dropout"),
        ("densenet40_k12", {"dropout": 1.5, "dropout_after": "last"}, "dropout"),
        ("densenet40_k12", {"dropout": -0.5}, "dropout"),
    ],
)
def test_values_that_nothing_computes_with_are_refused_all_the_same(model: str, options: Any, word: str) -> None:
    assert word in refused(lambda: convzoo.create_model(model, **options))


# Layouts


@pytest.mark.parametrize(
    "make",
    [
        lambda: imagenet("net", "net", BASIC, (1, 1, 1, 1), letter="q"),
        lambda: imagenet("net", "net", BASIC, (1, 1, 1, 1), letter=["d"]),
        lambda: imagenet("net", "net", BASIC, (10**9, 1, 1, 1)),
        lambda: imagenet("net", "net", BASIC, (1, 1)),
        lambda: imagenet("net", "net", BASIC, 4),
        lambda: stages(BASIC, (1, "1"), (8, 8)),
        lambda: stages(BASIC, (1, 1), (8, 2**63)),
        lambda: dense_stages([BASIC], [1, 2], transition=BASIC),
        lambda: dense_stages([BASIC], [0], transition=BASIC),
        lambda: cifar_depths("20", 2),
        lambda: cifar_depths(20, 0),
        lambda: cifar_depths(10**400, 2),
    ],
)
def test_layouts_refuse_depths_widths_and_letters_that_cannot_be(make: Callable[[], Any]) -> None:
    with pytest.raises(SpecError):
        make()
