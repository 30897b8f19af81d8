"""The zoo within timm: its models are listed, made and described there as timm's own are."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import PretrainedCfg, load_checkpoint, resolve_model_input_args, save_for_hf

import convzoo
import convzoo.timm
from convzoo import OptionError, PluginWarning, UnknownNameError, UnknownOptionError, WeightsError, WeightsWarning
from convzoo.network.backbone import FeatureNet
from convzoo.published.rows import published
from convzoo.testing.numerics import jitter_norms
from convzoo.timm import timm_name

from .small import SMALL
from .test_sources import Hub, hub
from .tiny import assert_equal

__all__ = ["hub"]  # the fixture
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def smallest() -> list[str]:
    """A small variant of each family, by timm's name."""
    specs = [(convzoo.model_info(name).spec, name) for name in convzoo.list_models()]
    specs.sort(key=lambda each: (each[0].family, each[0].params or 10**12))
    groups = itertools.groupby(specs, key=lambda each: each[0].family)
    return [timm_name(next(group)[1]) for _, group in groups]


def meta(name: str, **options: Any) -> Any:
    return timm.create_model(name, device="meta", **options).eval()


QUICK = ("zoo_resnet20", "zoo_resnest14d", "zoo_wrn16_1", "zoo_condensenet50_cifar", "zoo_cbam_resnet18_cifar")
"""Those that every run examines."""


def trained(name: str, **options: Any) -> Any:
    torch.manual_seed(1)
    model = timm.create_model(name, **options)
    jitter_norms(model)
    return model.eval()


def test_every_model_of_the_zoo_is_in_timm_under_its_name_without_dots() -> None:
    names = {timm_name(name) for name in convzoo.list_models()}
    assert len(names) == len(convzoo.list_models())
    assert names <= set(timm.list_models("zoo_*"))
    assert names <= set(timm.list_models(module="zoo"))
    assert "zoo" in timm.list_modules()
    assert timm_name("wide_resnet18_1.5") == "zoo_wide_resnet18_1_5"
    assert all(timm.is_model(name) for name in names)
    assert meta("zoo_wide_resnet18_1_5").spec == convzoo.create_model("wide_resnet18_1.5", device="meta").spec


def test_what_is_published_is_listed_by_its_tags() -> None:
    expected = {
        f"{timm_name(name)}.{row.tag if row.source == 'timm' else f'{row.source}_{row.tag}'}"
        for name in convzoo.list_models()
        for row in published(name)
    }
    assert len(expected) > 300
    assert set(timm.list_pretrained("zoo_*")) == expected
    assert timm.models.is_model_pretrained("zoo_resnet50")
    assert not timm.models.is_model_pretrained("zoo_densenet40_k12")
    cfg = timm.get_pretrained_cfg("zoo_resnet20_b.pytorchcv_cifar100")
    assert (cfg.num_classes, cfg.input_size, cfg.license) == (100, (3, 32, 32), "mit")


def test_a_model_that_is_registered_later_is_there_too(mine: str) -> None:
    assert not timm.is_model("zoo_later_1_5")
    convzoo.register(SMALL.derived(name="later_1.5"), plugin=mine)
    assert timm.create_model("zoo_later_1_5")(X).shape == (2, 5)
    assert timm.get_pretrained_cfg("zoo_later_1_5").input_size == (3, 32, 32)
    convzoo.register(SMALL.derived(name="later_1.5", num_classes=7), plugin=mine)
    assert timm.create_model("zoo_later_1_5")(X).shape == (2, 7)


def test_a_name_by_a_rule_is_registered_on_demand() -> None:
    assert not timm.is_model("zoo_wrn22_1")
    assert convzoo.timm.register("wrn22_1") == ["zoo_wrn22_1"]
    assert timm.create_model("zoo_wrn22_1", num_classes=3)(X).shape == (2, 3)
    assert convzoo.timm.register("wrn22_1") == []
    with pytest.raises(UnknownNameError):
        convzoo.timm.register("wrn46_1", "nothing_of_the_kind")
    assert not timm.is_model("zoo_wrn46_1")


def test_a_name_that_timm_has_already_is_kept_with_a_warning(mine: str) -> None:
    def zoo_taken(pretrained: bool = False, **options: Any) -> torch.nn.Module:
        return torch.nn.Identity()

    timm.models.register_model(zoo_taken)
    with pytest.warns(PluginWarning, match="'zoo_taken' is taken there by another package"):
        convzoo.register(SMALL.derived(name="taken"), plugin=mine)
    assert isinstance(timm.create_model("zoo_taken"), torch.nn.Identity)
    with pytest.warns(PluginWarning, match=r"taken there by the model 'wide_resnet18_1\.5'"):
        convzoo.register(SMALL.derived(name="wide_resnet18_1_5"), plugin=mine)


def test_timms_arguments_are_ours() -> None:
    options = {"num_classes": 7, "in_chans": 1, "output_stride": 16, "drop_path_rate": 0.1}
    spec = meta("zoo_resnet18", **options, drop_rate=0.2, global_pool="fastmax", scriptable=True, exportable=True).spec
    assert spec == convzoo.create_model("resnet18", device="meta", **options, drop_rate=0.2, global_pool="max").spec
    assert meta("zoo_resnet18", act="silu", attention="se").spec.name == "resnet18"
    unset = {"num_classes": None, "drop_path_rate": None, "drop_block_rate": None, "bn_momentum": None, "bn_eps": None}
    model = meta("zoo_resnet18", pretrained=False, global_pool="fast", drop_rate=0.0, checkpoint_path="", **unset)
    assert model.spec == convzoo.create_model("resnet18", device="meta").spec, "as benchmark.py and train.py ask for it"
    assert meta("zoo_resnet20_b.pytorchcv_cifar100").num_classes == 100
    assert meta("zoo_resnet20_b", pretrained_cfg="pytorchcv_cifar100").num_classes == 100


def test_what_nothing_takes_is_a_type_error_as_in_timm() -> None:
    with pytest.raises(TypeError, match="No part of resnet18 takes 'img_size'") as caught:
        meta("zoo_resnet18", img_size=64)
    assert isinstance(caught.value, UnknownOptionError)
    with pytest.raises(UnknownOptionError, match="add features_only=True"):
        meta("zoo_resnet18", feature_cls="list")
    with pytest.raises(RuntimeError, match="Invalid pretrained tag"):
        meta("zoo_resnet18.nothing")


@pytest.mark.parametrize("form", ["list", "getter", "hook", "fx", timm.models.FeatureListNet])
def test_features_are_a_list_in_whichever_of_timms_ways(form: Any) -> None:
    model = timm.create_model("zoo_resnet20", features_only=True, feature_cls=form, out_indices=(1, 2))
    assert isinstance(model, FeatureNet)
    assert [tuple(level.shape[1:]) for level in model(X)] == [(16, 32, 32), (32, 16, 16)]
    assert model.feature_info.channels() == [16, 32]


def test_other_forms_of_features_are_refused() -> None:
    with pytest.raises(OptionError, match="feature_cls='dict': a model of the zoo gives its features as a list"):
        meta("zoo_resnet20", features_only=True, feature_cls="dict")
    with pytest.raises(OptionError, match="feature_cfg="):
        meta("zoo_resnet20", features_only=True, feature_cfg={"output_fmt": "NHWC"})
    model = meta("zoo_resnet20", features_only=True, feature_cfg={"out_indices": (1,), "feature_cls": "getter"})
    assert model.feature_info.channels() == [16]


def test_pretrained_cfg_can_be_set_on_both_classes() -> None:
    for model in (meta("zoo_resnet20"), meta("zoo_resnet20", features_only=True)):
        model.pretrained_cfg = {**model.pretrained_cfg, "mean": (0.5, 0.5, 0.5)}
        assert model.default_cfg is model.pretrained_cfg
        assert timm.data.resolve_model_data_config(model)["mean"] == (0.5, 0.5, 0.5)
        model.default_cfg = {**model.default_cfg, "mean": (0.1, 0.2, 0.3)}
        assert model.pretrained_cfg["mean"] == (0.1, 0.2, 0.3)
    model = meta("zoo_resnet20")
    model.pretrained_cfg = {**model.pretrained_cfg, "mean": (0.5, 0.5, 0.5)}
    model.reset_classifier(3)
    assert (model.default_cfg["mean"], model.default_cfg["num_classes"]) == ((0.5, 0.5, 0.5), 3)


def test_the_images_are_those_of_the_tag_and_of_what_is_laid_over_it() -> None:
    cfg = meta("zoo_resnet50.am_in1k").pretrained_cfg
    theirs = timm.get_pretrained_cfg("resnet50.am_in1k").to_dict()
    for key in ("input_size", "crop_pct", "interpolation", "mean", "std", "hf_hub_id", "license", "tag"):
        assert cfg[key] == theirs[key], key
    assert "test_input_size" not in cfg, "that is of the variant's first weights"
    overlay = {"input_size": (1, 96, 96), "mean": (0.5,), "std": (0.5,), "num_classes": 10}
    model = meta("zoo_resnet50", pretrained_cfg_overlay=overlay)
    assert (model.in_chans, model.num_classes, model.default_cfg["pool_size"]) == (1, 10, (3, 3))
    assert timm.data.resolve_data_config({}, model=model)["input_size"] == (1, 96, 96)
    assert meta("zoo_resnet50", pretrained_cfg=PretrainedCfg(num_classes=4)).num_classes == 4


def test_weights_come_from_wherever_pretrained_cfg_says(tmp_path: Path) -> None:
    known = timm.create_model("resnet10t", num_classes=4).eval()
    torch.save(known.state_dict(), file := tmp_path / "theirs.pth")
    for overlay in ({"file": str(file)}, {"state_dict": known.state_dict()}):
        cfg = {"num_classes": 4, **overlay}
        model = timm.create_model("zoo_resnet10t", pretrained=True, pretrained_cfg_overlay=cfg).eval()
        assert torch.equal(model(X), known(X))
        assert "state_dict" not in model.pretrained_cfg
    with pytest.warns(WeightsWarning, match="classifier"):
        model = timm.create_model("zoo_resnet10t", pretrained=True, pretrained_cfg_overlay=cfg, num_classes=2)
    assert model(X).shape == (2, 2)
    features = timm.create_model(
        "zoo_resnet10t", pretrained=True, pretrained_cfg_overlay=cfg, features_only=True
    ).eval()
    assert torch.equal(features(X)[-1], known.forward_features(X))


def test_what_is_fetched_is_kept_in_cache_dir(hub: Hub, tmp_path: Path) -> None:
    known = trained("zoo_resnet20", num_classes=4)
    torch.save(known.state_dict(), hub.folder / "x.pth")
    for _ in range(2):
        model = timm.create_model(
            "zoo_resnet20",
            pretrained=True,
            pretrained_cfg_overlay={"url": f"{hub.address}/x.pth", "num_classes": 4},
            cache_dir=tmp_path / "here",
        )
        assert_equal(model.state_dict(), known.state_dict())
    assert (len(list((tmp_path / "here").iterdir())), hub.asked) == (1, 1)
    save_for_hf(known, hub.folder / "me" / "mine")
    overlay = {"hf_hub_id": "me/mine", "num_classes": 4}
    model = timm.create_model(
        "zoo_resnet20", pretrained=True, pretrained_cfg_overlay=overlay, cache_dir=tmp_path / "there"
    )
    assert_equal(model.state_dict(), known.state_dict())
    assert list((tmp_path / "there").glob("models--me--mine/snapshots/*/pytorch_model.bin"))
    with pytest.raises(OptionError, match="cache_dir=3"):
        timm.create_model("zoo_resnet20", cache_dir=3)


@pytest.mark.parametrize(
    ("overlay", "error", "said"),
    [
        ({"custom_load": True}, OptionError, "custom_load=True"),
        ({"hf_hub_id": "me/mine", "hf_hub_filename": "other.bin"}, OptionError, "hf_hub_filename='other.bin'"),
        ({"url": None, "hf_hub_id": None}, WeightsError, "pretrained_cfg says of no weights for resnet50"),
        ({"url": ("a", "b"), "hf_hub_id": None}, OptionError, "expected one address"),
    ],
)
def test_weights_that_only_timms_own_models_understand_are_refused(overlay: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        timm.create_model("zoo_resnet50", pretrained=True, pretrained_cfg_overlay=overlay)


def test_pretrained_without_published_weights_says_what_there_is_instead() -> None:
    with pytest.raises(WeightsError, match="nobody is known to have published weights for densenet40_k12"):
        timm.create_model("zoo_densenet40_k12", pretrained=True)


def test_a_published_row_is_fetched_by_its_name_with_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create(name: str, **options: Any) -> Any:
        asked.append(options.pop("weights"))
        return convzoo.create_model(name, device="meta", **options)

    monkeypatch.setattr("convzoo.timm.creating.create_model", create)
    timm.create_model("zoo_resnet50", pretrained=True)
    timm.create_model("zoo_resnet50.torchvision_IMAGENET1K_V2", pretrained=True)
    timm.create_model(**resolve_model_input_args("zoo_resnet20_b.pytorchcv_cifar100", {}, pretrained=True))
    timm.create_model("zoo_resnet20_b", pretrained=False)
    assert asked == [published("resnet50")[0].name, "torchvision:IMAGENET1K_V2", "pytorchcv:cifar100", None]


def test_checkpoints_of_timms_tools_load(tmp_path: Path) -> None:
    known = trained("zoo_resnet20", num_classes=4)
    torch.save({"state_dict": known.state_dict(), "arch": "zoo_resnet20"}, file := tmp_path / "last.pth.tar")
    model = timm.create_model("zoo_resnet20", num_classes=4, checkpoint_path=str(file)).eval()
    assert torch.equal(model(X), known(X))
    load_checkpoint(model, str(file))


def test_a_folder_that_timm_wrote_is_read_by_both(tmp_path: Path) -> None:
    known = trained("zoo_wide_resnet18_1_5", num_classes=4, in_chans=1, global_pool="max")
    save_for_hf(known, tmp_path)
    x = X[:, :1]
    for create in (lambda name: timm.create_model(name, pretrained=True), convzoo.create_model):
        assert torch.equal(create(f"local-dir:{tmp_path}").eval()(x), known(x))


@pytest.mark.tool("timm")
@pytest.mark.parametrize(
    "name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.large) for each in smallest()]
)
def test_a_model_of_each_family_keeps_the_contract_of_timms_own(name: str) -> None:
    model = meta(name, dtype=torch.float32)
    cfg, state = model.default_cfg, model.state_dict()
    assert cfg["architecture"] == name
    assert cfg["input_size"][0] == model.in_chans
    assert {f"{cfg['first_conv']}.weight", f"{cfg['classifier']}.weight"} <= state.keys()
    groups = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    assert len(set(groups.values())) > 1
    x = torch.randn(1, *cfg["input_size"], device="meta")
    features = model.forward_features(x)
    assert features.shape[1:] == (model.num_features, *cfg["pool_size"])
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (1, model.head_hidden_size)
    assert model.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16
    assert meta(name, num_classes=0)(x).shape == pooled.shape
    assert meta(name, num_classes=0, global_pool="")(x).shape == features.shape
    model.requires_grad_(False)
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert not any(parameter.requires_grad for parameter in model.parameters())
    model.reset_classifier(0, "")
    model.reset_classifier(2)
    assert model(x.bfloat16()).shape == (1, 2)
    backbone = meta(name, features_only=True, in_chans=1)
    info = backbone.feature_info
    for level, channels, stride in zip(backbone(x[:, :1]), info.channels(), info.reduction(), strict=True):
        assert tuple(level.shape[1:]) == (channels, *(-(-side // stride) for side in x.shape[2:]))
    assert len(info.channels()) >= 3


def test_without_timm_it_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['timm'] = None\nimport convzoo.timm"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: convzoo.timm needs timm: pip install 'convzoo[timm]'" in done.stderr
