"""A model is saved whole, and made again in another process, whatever became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import convzoo
from convzoo import OptionError, WeightsError, create_model, deploy, load_weights, save_pretrained, set_progress
from convzoo.network.model import ConvNet
from convzoo.testing.numerics import jitter_norms

from .commands import fresh
from .tiny import assert_equal, copied, refused, tiny, trained

WRITE = """
import sys, torch, convzoo
from convzoo.testing.numerics import jitter_norms
torch.manual_seed(0)
images = torch.rand(4, 3, 32, 32)
made = {"composed": convzoo.create_model("resnet20", attention="cbam", act="silu", norm="group")}
made["tuned"] = tuned = convzoo.create_model("resnet20_b", num_classes=3)
optimizer = torch.optim.SGD(tuned.parameters(), lr=0.1)
for _ in range(2):
    torch.nn.functional.cross_entropy(tuned(images), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
trained = convzoo.create_model("condensenet50_cifar", num_classes=7)
jitter_norms(trained)
convzoo.set_progress(trained, 1)
made["deployed"] = convzoo.deploy(trained)
for name, model in made.items():
    convzoo.save_pretrained(model, f"{sys.argv[1]}/{name}")
    torch.save((images, model.eval()(images)), f"{sys.argv[1]}/{name}.pt")
"""
READ = """
import sys, torch, convzoo
for name in ("composed", "tuned", "deployed"):
    images, outputs = torch.load(f"{sys.argv[1]}/{name}.pt")
    model = convzoo.create_model(f"local-dir:{sys.argv[1]}/{name}").eval()
    print(name, torch.equal(model(images), outputs), model.num_classes, model.deployed)
"""


def test_tuned_composed_and_deployed_models_go_from_one_process_to_another(tmp_path: Path) -> None:
    assert fresh(WRITE, str(tmp_path)).stderr == ""
    read = fresh(READ, str(tmp_path))
    assert read.stdout.splitlines() == ["composed True 10 False", "tuned True 3 False", "deployed True 7 True"], (
        read.stderr
    )


def other(head: nn.Module | None = None, **layers: nn.Module) -> ConvNet:
    """A network with another head, or with other layers in it, that were put in by hand."""
    model = trained()
    model.head = head or model.head
    for name, layer in layers.items():
        setattr(model.head, name, layer)
    return model


def saved(folder: Path, **options: Any) -> tuple[ConvNet, str]:
    model = trained(**options)
    save_pretrained(model, folder)
    return model, f"local-dir:{folder}"


def test_what_is_saved_is_what_is_made_again(tmp_path: Path) -> None:
    model, name = saved(tmp_path / "new" / "folder", attention="se", in_chans=1)
    again = create_model(name)
    assert again.spec == model.spec
    assert again.default_cfg == model.default_cfg
    assert_equal(again.state_dict(), model.state_dict())
    config = json.loads((tmp_path / "new" / "folder" / "config.json").read_text(encoding="utf-8"))
    assert (config["architecture"], config["num_classes"]) == ("tiny", 5)
    assert {"input_size", "mean", "std", "interpolation", "crop_pct"} < config["pretrained_cfg"].keys()


def test_a_plain_classifier_that_was_put_in_by_hand_is_saved_with_its_classes(tmp_path: Path) -> None:
    model = other(fc=nn.Linear(16, 3))
    save_pretrained(model, tmp_path)
    again = create_model(f"local-dir:{tmp_path}")
    assert again.num_classes == 3
    assert_equal(again.state_dict(), model.state_dict())


def test_options_change_what_a_folder_holds(tmp_path: Path) -> None:
    model, name = saved(tmp_path)
    with pytest.warns(convzoo.WeightsWarning, match="classifier"):
        again = create_model(name, num_classes=9)
    assert again.num_classes == 9
    assert torch.equal(again.stem.conv.weight, model.stem.conv.weight)
    assert create_model(name, features_only=True).feature_info.channels() == [8, 8, 16, 16]
    assert not torch.equal(create_model(name, pretrained=False).stem.conv.weight, model.stem.conv.weight)
    other = tiny(weights=name)
    assert_equal(other.state_dict(), model.state_dict())
    assert load_weights(tiny(), name).fits


def test_a_torch_file_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    model, name = saved(tmp_path)
    save_pretrained(model, tmp_path, safe=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "pytorch_model.bin"]
    assert_equal(create_model(name).state_dict(), model.state_dict())


def test_a_folder_may_be_written_over_by_a_model_that_was_loaded_from_it(tmp_path: Path) -> None:
    model, name = saved(tmp_path)
    first = create_model(name)
    with torch.no_grad():
        first.head.fc.weight.add_(1)
    save_pretrained(first, tmp_path)
    save_pretrained(model, tmp_path)
    second = create_model(name)
    assert_equal(second.state_dict(), model.state_dict())
    assert torch.equal(first.head.fc.weight, model.head.fc.weight + 1)
    assert torch.equal(first.stem.conv.weight, model.stem.conv.weight)


def test_what_is_told_of_a_model_is_in_its_configuration_and_comes_back(tmp_path: Path) -> None:
    save_pretrained(
        trained(), tmp_path, license="mit", tag="mine", mean=(0.5, 0.5, 0.5), label_names=["a", "b", "c", "d", "e"]
    )
    cfg = create_model(f"local-dir:{tmp_path}").default_cfg
    assert (cfg["license"], cfg["tag"], cfg["mean"], cfg["label_names"][4]) == ("mit", "mine", (0.5, 0.5, 0.5), "e")


@pytest.mark.parametrize("name", ["resnet18d", "densenet121"])
@pytest.mark.parametrize("safe", [True, False])
def test_folders_that_timm_writes_load(tmp_path: Path, name: str, safe: bool) -> None:
    theirs = timm.create_model(name, num_classes=4, in_chans=2, global_pool="max").eval()
    jitter_norms(theirs)
    timm.models.save_for_hf(theirs, str(tmp_path), model_args={"in_chans": 2}, safe_serialization=safe)
    ours = create_model(f"local-dir:{tmp_path}").eval()
    images = torch.rand(1, 2, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=1e-5)
    for field in ("interpolation", "crop_pct"):
        assert ours.default_cfg[field] == theirs.pretrained_cfg[field]


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("name", ["condensenet50_cifar", "densenet40_k12_bc", "resnet20"])
def test_each_form_of_a_deployed_network_comes_back_as_that_form(tmp_path: Path, name: str, rewrite: bool) -> None:
    model, images = create_model(name), torch.rand(2, 3, 32, 32)
    jitter_norms(model)
    set_progress(model, 1)
    deployed = deploy(model, rewrite=rewrite)
    again = create_model(f"local-dir:{save_pretrained(deployed, tmp_path)}")
    assert again.state_dict().keys() == deployed.state_dict().keys()
    assert (again.deployed, again.rewritten) == (True, rewrite)
    with torch.inference_mode():
        assert torch.equal(again(images), deployed(images))


def test_weights_of_a_deployed_network_are_told_from_those_in_training() -> None:
    model = create_model("condensenet50_cifar")
    set_progress(model, 1)
    deployed = deploy(model)
    said = refused(create_model("condensenet50_cifar"), deployed.state_dict())
    assert "These are the weights of the deployed network" in said
    with pytest.raises(WeightsError, match="These are the weights of the deployed network"):
        create_model("condensenet50_cifar", weights=deployed.state_dict())
    assert "The network is deployed" in refused(deployed, model.state_dict())
    assert "deployed" not in refused(tiny(), deployed.state_dict())
    assert load_weights(deploy(model), copied(deployed.state_dict())).fits


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda path: save_pretrained(create_model("resnet20", device="meta"), path), WeightsError, "without storage"),
        (lambda path: save_pretrained(tiny(features_only=True), path), WeightsError, "cut down to its features"),
        (lambda path: save_pretrained(torch.nn.Linear(1, 1), path), WeightsError, "a network of convzoo"),
        (lambda path: save_pretrained(other(fc=nn.Linear(16, 5, bias=False)), path), WeightsError, "replace it again"),
        (lambda path: save_pretrained(other(fc=nn.Sequential(nn.Linear(16, 5))), path), WeightsError, "is Sequential"),
        (lambda path: save_pretrained(other(nn.Flatten()), path), WeightsError, "head of tiny is Flatten"),
        (lambda path: save_pretrained(tiny(), 3), OptionError, "path of a folder"),
        (lambda path: save_pretrained(tiny(), path, tag=object()), OptionError, "JSON"),
        (lambda path: create_model(f"local-dir:{path}/none"), WeightsError, "no folder"),
        (lambda path: create_model(f"local-dir:{path.parent}"), WeightsError, "none of config.json"),
        (lambda path: create_model("local-dir:"), WeightsError, "no folder"),
    ],
)
def test_what_cannot_be_saved_or_made_is_refused(tmp_path: Path, call: Any, error: type[Exception], said: str) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(error, match=said):
        call(folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no object"),
        ("{}", "names no architecture"),
        ('{"architecture": "vit_tiny"}', "There is no model 'vit_tiny'"),
        ('{"architecture": "resnet18", "convzoo": {"version": 9}}', "another version"),
        ('{"architecture": "resnet18", "convzoo": {"version": 1, "spec": {"name": "x"}}}', "not a model's dict"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, config: str, said: str) -> None:
    _, name = saved(tmp_path)
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(WeightsError, match=said):
        create_model(name)


def test_a_folder_without_weights_is_refused_unless_none_are_wanted(tmp_path: Path) -> None:
    _, name = saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="no file of weights"):
        create_model(name)
    assert create_model(name, pretrained=False).spec.name == "tiny"
