"""Comparing with timm and torchvision: what is compared, what is noticed, and on a GPU every variant.

On the CPU every variant is compared by the conformance kit, see test_conformance.
"""

from __future__ import annotations

import dataclasses

import pytest
import timm
import torch

import convzoo
from convzoo.bench.competitors import full_precision
from convzoo.network.weights import load_weights
from convzoo.plugins.host import registry
from convzoo.testing.numerics import jitter, jitter_norms, largest_difference, load_images, silent_weights
from convzoo.testing.parity import Comparison, compare, reference_model, reference_of

from .facts import rows

ONE_OF_EACH_FAMILY = (
    *("resnet50", "resnetrs50", "resnext50_32x4d", "wide_resnet50_2", "seresnet50", "seresnext50_32x4d", "senet154"),
    *("ecaresnet50d", "ecaresnext50t_32x4d", "cbam_resnet50", "resnest50", "skresnext50_32x4d", "densenet121"),
)
LARGE = 400_000_000
DOUBLE = 50_000_000


def _names(library: str) -> list[str]:
    return [name for name, entry in registry().models().items() if entry.spec.reference(library)]


def _params(name: str) -> int:
    return convzoo.model_info(name).spec.params or 0


def _marked(names: list[str]) -> list[object]:
    return [pytest.param(n, marks=pytest.mark.large) if _params(n) > LARGE else n for n in names]


def _assert_equal(result: Comparison) -> None:
    assert result.equal, {name: dataclasses.astuple(d) for name, d in result.differences.items()}


def test_every_variant_that_timm_has_is_compared() -> None:
    assert {row["zoo_name"] for row in rows() if row.get("timm_name")} <= set(_names("timm"))


def test_a_comparison_leaves_nothing_out() -> None:
    result = compare("resnet18", image_size=64)
    checks = {"state dict", "eval", "forward_features", "features", "train", "gradients", "statistics"}
    assert set(result.differences) == checks
    assert set(compare("resnet18", against="torchvision", image_size=64).differences) == checks - {
        "forward_features",
        "features",
    }


def test_a_comparison_without_jittered_norms_would_see_nothing_of_a_residual_branch() -> None:
    model = convzoo.create_model("resnet18")
    assert "stages.3.1.branch.conv1.conv.weight" in silent_weights(model, load_images("random", 32))


@pytest.mark.parametrize("key", ["stem.conv.weight", "stages.2.1.branch.attention.fc2.bias", "head.fc.bias"])
def test_a_corrupted_weight_is_reported_as_a_difference(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupt(model: torch.nn.Module, source: object, **options: object) -> None:
        load_weights(model, source, **options)
        if key in model.state_dict():
            model.state_dict()[key].add_(1e-3)

    monkeypatch.setattr("convzoo.testing.parity.load_weights", corrupt)
    result = compare("seresnet18", image_size=64)
    assert not result.equal
    assert result.verdict.startswith("DIFFERS")


def test_photographs_are_two_normalised_images() -> None:
    photos = load_images("photos", 96)
    assert photos.shape == (2, 3, 96, 96)
    assert not torch.equal(photos[0], photos[1])
    assert 0.5 < float(photos.std()) < 2


@pytest.mark.parametrize(
    ("dtype", "channels_last"),
    [
        ("bfloat16", True),
        pytest.param("bfloat16", False, marks=pytest.mark.large),
        pytest.param("float16", True, marks=pytest.mark.large),
        pytest.param("float16", False, marks=pytest.mark.large),
    ],
)
def test_equals_timm_under_autocast(dtype: str, channels_last: bool) -> None:
    _assert_equal(compare("resnest14d", dtype=dtype, image_size=64, channels_last=channels_last))


@pytest.mark.gpu
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", _marked(_names("timm")))
def test_equals_timm_on_a_gpu(name: str, dtype: str, channels_last: bool) -> None:
    if dtype == "float64" and _params(name) >= DOUBLE:
        pytest.skip("float64 is for the variants small enough for it")
    _assert_equal(compare(name, device="cuda", dtype=dtype, image_size=64, channels_last=channels_last))


def _assert_compiled_equals_timm(name: str, device: str, dtype: torch.dtype | None) -> None:
    """Compiled, against timm's as it is: the two fuse in other ways, so that they agree up to rounding."""
    torch.manual_seed(0)
    reference = reference_of(name)
    theirs = reference_model(reference).eval()
    jitter_norms(theirs)
    ours = convzoo.create_model(name, **dict(reference.overrides)).eval()
    load_weights(ours, theirs.state_dict())
    ours, theirs = ours.to(device), theirs.to(device)
    images = load_images("random", 64).to(device)
    torch.compiler.reset()
    with torch.no_grad(), torch.autocast(device, dtype, enabled=dtype is not None), full_precision():
        found = largest_difference({"output": (torch.compile(ours)(images).float(), theirs(images).float())})
    assert found.relative <= (1e-4 if dtype is None else 5e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16], ids=["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_compiled_equals_timm_on_a_gpu(name: str, dtype: torch.dtype | None) -> None:
    _assert_compiled_equals_timm(name, "cuda", dtype)


@pytest.mark.large
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["float32", "bfloat16"])
def test_compiled_equals_timm(dtype: torch.dtype | None) -> None:
    _assert_compiled_equals_timm("resnet18", "cpu", dtype)


def test_complex_numbers_differ_in_either_part_and_integers_are_equal_or_not() -> None:
    ones = torch.ones(2)
    assert largest_difference({"": (torch.complex(ones, ones), torch.complex(ones, 2 * ones))}).absolute == 1
    assert largest_difference({"": (torch.tensor(2**60), torch.tensor(2**60 + 1))}).relative >= 1
    assert largest_difference({"": (torch.tensor([True]), torch.tensor([False]))}).relative >= 1
    assert largest_difference({"": (ones, ones.double() + 1e-9)}).relative < 1e-8
    assert largest_difference({"": (torch.tensor([torch.nan]),) * 2}).relative == torch.inf


def test_jitter_leaves_no_constant_weight_and_passes_over_what_has_no_elements() -> None:
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.ones(3, dtype=torch.complex64))
    model.none = torch.nn.Parameter(torch.zeros(0, 3))
    jitter(model)
    assert len(set(model.weight.tolist())) == 3


@pytest.mark.parametrize("name", ["seresnet50_v1", "seresnext50_32x4d_prototxt"])
def test_released_networks_equal_timms_and_with_a_padded_pool_they_do_not(name: str) -> None:
    """Of one layer a stage; the conformance kit compares the whole ones."""
    spec = convzoo.model_info(name).spec
    torch.manual_seed(0)
    theirs = timm.create_model(spec.reference("timm").name, layers=[1, 1, 1, 1]).double().eval()
    jitter_norms(theirs)
    spec = spec.derived(stages=[convzoo.Stage(stage.layers[:1], stage.stride) for stage in spec.stages])
    options = {"weights": theirs.state_dict(), "dtype": torch.float64}
    released, padded = (convzoo.create_model(spec, pool=pool, **options).eval() for pool in ("max_ceil", "max"))
    for size in ((64, 64), (65, 51)):
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        wanted = theirs(x)
        torch.testing.assert_close(released(x), wanted, rtol=0, atol=1e-12)
        assert (padded(x) - wanted).abs().max() > 1e-3 * wanted.abs().max()
