"""Weights under other people's names: recognised, told of, and computing what the others' networks compute."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import convzoo
from convzoo import Dialect, Model, SpecError, WeightsError, create_model, load_weights
from convzoo.layouts import KEYS
from convzoo.network.keys import reference_state_dict
from convzoo.network.worlds import worlds
from convzoo.plugins.host import registry
from convzoo_attention.plugin import ECA_AUTHORS_KEYS
from convzoo_condensenet import halve_classifier

from .tiny import TINY, assert_equal, copied, refused, tiny, trained

DATA = Path(__file__).parent / "data" / "keys"


def listed(name: str) -> dict[str, torch.Tensor]:
    """A state dict of random values with the names and shapes of a file in ``data/keys``, which says whose they are."""
    torch.manual_seed(2)
    shapes = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["keys"]
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            state[key] = torch.rand(shape) + 0.5
        else:
            state[key] = torch.randn(shape) * math.prod(shape[1:]) ** -0.5
    return state


@pytest.mark.parametrize(
    ("file", "variant", "dialect"),
    [
        ("pytorch-cifar-models", "resnet20_b", "torchvision"),
        ("kuangliu", "resnet18_cifar", "kuangliu"),
        ("mmpretrain", "resnet18_cifar", "mmpretrain"),
        ("cbam_authors", "cbam_resnet18", "the CBAM authors"),
        ("efficient_densenet", "densenet40_k12_bc", "efficient_densenet_pytorch, its first version"),
    ],
)
def test_names_of_others_are_recognised_and_every_tensor_is_used(file: str, variant: str, dialect: str) -> None:
    state = listed(file)
    model = create_model(variant)
    report = load_weights(model, state)
    assert (report.dialect, report.fits) == (dialect, True)
    assert f"read with {dialect} keys" in str(report)
    named = next(world.names for world in worlds(model.spec, list(model.state_dict()), dialect))
    for key, tensor in model.state_dict().items():
        theirs = next(value for name, value in state.items() if name.removeprefix("module.") == named[key])
        assert torch.equal(tensor, theirs.reshape(tensor.shape)), key


def test_the_files_of_the_eca_authors_load_by_their_keys() -> None:
    state = listed("eca_authors")
    model = create_model("resnet18", attention=convzoo.ref("eca", kernel_size=3))
    report = load_weights(model, state, keys=ECA_AUTHORS_KEYS)
    assert (report.dialect, report.fits, len(report.used)) == ("given", True, len(state))
    assert torch.equal(model.state_dict()["stages.3.1.branch.attention.conv.weight"], state["layer4.1.eca.conv.weight"])


# CondenseNet's masks and indices


def masked(groups: int = 4) -> dict[str, torch.Tensor]:
    """A file of a network in training, with masks as at its end."""
    state = listed("condensenet_training")
    for key in [key for key in state if key.endswith("_mask")]:
        outputs, inputs = state[key].shape[:2]
        mask = torch.zeros(groups, inputs)
        for row in mask:
            row[torch.randperm(inputs)[: inputs // groups]] = 1
        state[key] = mask.repeat(outputs // groups, 1)[:, :, None, None]  # output o is of group o % groups
    return state


def converted(state: dict[str, torch.Tensor], groups: int = 4) -> dict[str, torch.Tensor]:
    """The authors' conversion of such a file, by loops, as their ``CondensingConv`` and ``CondensingLinear``."""
    made = {key: value for key, value in state.items() if "conv_1." not in key and "classifier" not in key}
    for key in [key for key in state if key.endswith("_mask")]:
        layer, mask, weight = (
            key.removesuffix("_mask"),
            state[key][:, :, 0, 0],
            state[f"{key.removesuffix('_mask')}conv.weight"],
        )
        width = len(weight) // groups
        index = [j for group in range(groups) for j in range(mask.shape[1]) if mask[group, j]]
        made[f"{layer}index"] = torch.tensor(index)
        for norm in ("weight", "bias", "running_mean", "running_var"):
            made[f"{layer}norm.{norm}"] = state[f"{layer}norm.{norm}"][index]
        rows, kept = [], len(index) // groups
        for group in range(groups):
            rows += [weight[group + k * groups, index[group * kept : (group + 1) * kept]] for k in range(width)]
        made[f"{layer}conv.weight"] = torch.stack(rows)
    whole = state["classifier.weight"]
    chosen = whole.abs().sum(0).argsort()[whole.shape[1] - whole.shape[1] // 2 :]
    made |= {"classifier.index": chosen, "classifier.linear.weight": whole[:, chosen]}
    return made | {"classifier.linear.bias": state["classifier.bias"]}


def test_masks_become_what_each_group_keeps() -> None:
    state, model = masked(), create_model("condensenet50_cifar")
    report = load_weights(model, state)
    assert (report.dialect, report.fits) == ("the CondenseNet authors", True)
    layer = model.get_submodule("stages.1.3.branch.conv1")
    mask = state["features.denseblock_2.denselayer_3.conv_1._mask"]
    assert torch.equal(layer._masked(), layer.weight * mask)
    convzoo.deploy(model)  # which every mask must be at its end for


def test_a_converted_file_becomes_the_network_in_training_that_computes_the_same() -> None:
    state, other = masked(), converted(masked())
    shapes = json.loads((DATA / "condensenet_converted.json").read_text(encoding="utf-8"))["keys"]
    shapes = {key: shape for key, shape in shapes.items() if "conv_1.norm.num_batches" not in key}
    assert {key: list(value.shape) for key, value in other.items()} == shapes
    model, known = create_model("condensenet50_cifar").eval(), create_model("condensenet50_cifar").eval()
    report = load_weights(model, other)
    assert (report.dialect, report.fits) == ("the CondenseNet authors, converted", True)
    load_weights(known, state)
    images = torch.rand(2, 3, 32, 32)
    halved = halve_classifier(known)
    torch.testing.assert_close(model(images), halved(images), rtol=1e-5, atol=1e-5)
    deployed = halve_classifier(convzoo.deploy(model))
    torch.testing.assert_close(deployed(images), halved(images), rtol=1e-5, atol=1e-5)


def test_a_converted_file_whose_norms_contradict_each_other_is_refused() -> None:
    other = converted(masked())
    layer = "features.denseblock_3.denselayer_8.conv_1."
    index = other[f"{layer}index"]
    twice = int((index[:, None] == index).sum(1).argmax())
    other[f"{layer}norm.weight"][twice] += 1
    assert "two values for one channel" in refused(create_model("condensenet50_cifar"), other)


# pytorchcv's classes


PYTORCHCV = [
    ("resnet20_cifar10", "resnet20_b", 32),
    ("resnext29_32x4d_cifar10", "resnext29_32x4d", 32),
    ("seresnet20_cifar10", "seresnet20", 32),
    ("densenet40_k12_bc_cifar10", "densenet40_k12_bc", 32),
    ("resnesta18", "resnest18", 64),
    ("resneta18", "resnet18d", 64),
]
LARGER = [
    ("resnet164bn_cifar10", "resnet164bn", 32),
    ("seresnet164bn_cifar10", "seresnet164bn", 32),
    ("wrn16_10_cifar10", "wrn16_10", 32),
    ("resnet18", "resnet18", 224),
    ("resnet50", "resnet50_v1", 224),
    ("resnet50b", "resnet50", 224),
    ("resneta50b", "resnet50d", 224),
    ("resnext50_32x4d", "resnext50_32x4d", 224),
    ("seresnet50b", "seresnet50", 224),
    ("seresnext50_32x4d", "seresnext50_32x4d", 224),
    ("senet154", "senet154", 224),
    ("cbam_resnet50", "cbam_resnet50", 224),
    ("resnestabc14", "resnest14d", 64),
    ("resnestabc26", "resnest26d", 64),
    ("resnesta50", "resnest50", 64),
    ("densenet121", "densenet121", 224),
]


@pytest.mark.parametrize(
    ("theirs", "ours", "size"), [*PYTORCHCV, *(pytest.param(*each, marks=pytest.mark.large) for each in LARGER)]
)
def test_weights_of_pytorchcvs_networks_compute_what_these_compute(theirs: str, ours: str, size: int) -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    torch.manual_seed(0)
    reference = provider.get_model(theirs).eval()
    for norm in [each for each in reference.modules() if isinstance(each, torch.nn.BatchNorm2d)]:
        for tensor, low, high in ((norm.weight, 0.5, 1.5), (norm.bias, -0.2, 0.2)):
            torch.nn.init.uniform_(tensor, low, high)
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 2)
    model = create_model(ours, weights=reference.state_dict()).eval()
    assert load_weights(model, reference.state_dict()).dialect == "pytorchcv"
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        expected, outputs = reference(images), model(images)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


# Names that are given


def test_names_may_be_given_as_pairs_a_mapping_or_a_name() -> None:
    known = trained()
    reference = reference_state_dict(known)
    own = known.state_dict()
    shouted = {key.upper(): tensor for key, tensor in own.items()}
    for keys, state, dialect in [
        (KEYS, reference, "given"),
        ([list(pair) for pair in KEYS], reference, "given"),
        ({key: key.upper() for key in own}, shouted, "given"),
        ("reference", reference, "reference"),
        ("its own", own, "its own"),
    ]:
        model = tiny()
        assert load_weights(model, copied(state), keys=keys).dialect == dialect
        assert_equal(model.state_dict(), own)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("refrence", "Did you mean 'reference'"),
        ({"head.weight": "fc.weight"}, "no tensor 'head.weight'"),
        ([("(", "x")], "no pair for re.sub"),
        ([1], "pairs"),
        (3, "expected a name, pairs"),
        ([(".*", "x")], "two keys"),
    ],
)
def test_names_that_cannot_be_are_refused(keys: Any, said: str) -> None:
    assert said in refused(tiny(), trained().state_dict(), keys=keys)


def test_only_the_names_that_are_asked_for_are_tried() -> None:
    assert "do not fit" in refused(tiny(), trained().state_dict(), keys="reference")


@pytest.mark.parametrize("fields", [{"name": ""}, {"keys": [("a",)]}, {"convert": "module"}, {"convert": 3}])
def test_a_dialect_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Dialect(**{"name": "others", "keys": KEYS, **fields})


def test_dialects_are_written_down_with_the_spec() -> None:
    spec = convzoo.model_info("condensenet74_g4").spec
    assert Model.from_dict(json.loads(json.dumps(spec.to_dict()))).dialects == spec.dialects


def test_no_dialect_sends_two_keys_of_a_variant_to_one() -> None:
    families: dict[tuple[str, Any], str] = {}
    for name, entry in sorted(registry().models().items(), key=lambda item: item[1].spec.params or 0):
        families.setdefault((entry.spec.family, entry.spec.dialects), name)
    for name in families.values():
        model = create_model(name, device="meta")
        assert len(list(worlds(model.spec, list(model.state_dict()), None))) >= 1, name


def test_a_conversion_that_fails_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    shouted = Dialect(
        "others",
        ((r"^stem\.conv\.", "STEM."), (r"^stages", "STAGES"), (r"^head", "HEAD"), (r"^stem", "NORM")),
        "no_such:code",
    )
    model = create_model(dataclasses.replace(TINY, dialects=(shouted,)))
    names = next(world.names for world in worlds(model.spec, list(model.state_dict()), "others"))
    state = {names[key]: tensor for key, tensor in trained().state_dict().items()}
    with pytest.raises(WeightsError, match="cannot be converted by no_such:code"):
        load_weights(model, state)
